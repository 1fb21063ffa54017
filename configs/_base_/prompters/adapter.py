"""Pfeiffer's adapter: a bottleneck after the MLP of every layer. Jia et al. select the reduction."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='Adapter', reduction=8), tune=['head'])]
method_grid = {'custom_hooks.0.prompter.reduction': [8, 64, 256]}
