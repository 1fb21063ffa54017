"""VPT-deep: prompts before every layer. 10 is the paper's choice for CUB-200 and for VTAB-1k's CIFAR-100."""

custom_hooks = [
    dict(type='PromptTuningHook', prompter=dict(type='DeepPrompter', num_tokens=10, dropout=0.1), tune=['head'])
]
# With 100 prompts and more the batch size is halved, as in the paper.
method_grid = dict(
    num_tokens=[
        {'custom_hooks.0.prompter.num_tokens': tokens, 'train_dataloader.batch_size': 128 if tokens < 100 else 64}
        for tokens in (1, 5, 10, 50, 100, 200)
    ]
)
