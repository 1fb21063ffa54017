"""Houlsby's adapters: a bottleneck after the attention and one after the MLP of every layer."""

custom_hooks = [
    dict(type='PromptTuningHook', prompter=dict(type='Adapter', reduction=8, after=('attn', 'mlp')), tune=['head'])
]
method_grid = {'custom_hooks.0.prompter.reduction': [8, 64, 256]}
