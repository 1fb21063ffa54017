"""VPT-deep and bias under decode heads: 100 prompts before every layer, as in the paper on ADE20K."""

custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='DeepPrompter', num_tokens=100, dropout=0.1),
        tune=['decode_head|auxiliary_head', 'bias'],
    )
]
