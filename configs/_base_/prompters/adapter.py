"""Pfeiffer's adapter: a bottleneck behind the MLP of every layer. Jia et al. choose the reduction."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='Adapter', reduction=8), tune=['head'])]
method_grid = {'custom_hooks.0.prompter.reduction': [8, 64, 256]}
