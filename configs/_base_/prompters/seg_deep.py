"""VPT-deep under decode heads: 10 prompts before every layer, as in the paper on ADE20K."""

custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='DeepPrompter', num_tokens=10, dropout=0.1),
        tune=['decode_head|auxiliary_head'],
    )
]
