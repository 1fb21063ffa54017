"""VPT-shallow: prompts before the first layer, without dropout. The paper selects their number from 1, 5, ..., 200."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='ShallowPrompter', num_tokens=50), tune=['head'])]
# With 100 prompts and more the batch size is halved, as in the paper.
method_grid = dict(
    num_tokens=[
        {'custom_hooks.0.prompter.num_tokens': tokens, 'train_dataloader.batch_size': 128 if tokens < 100 else 64}
        for tokens in (1, 5, 10, 50, 100, 200)
    ]
)
