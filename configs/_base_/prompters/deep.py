"""VPT-deep: prompts before every layer. 10 is the paper's choice for CUB-200 and for VTAB-1k's CIFAR-100."""

custom_hooks = [
    dict(type='PromptTuningHook', prompter=dict(type='DeepPrompter', num_tokens=10, dropout=0.1), tune=['head'])
]
