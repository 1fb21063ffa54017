"""Convpass: convolutional bottlenecks next to attention and MLP."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='Convpass', hidden=8), tune=['head'])]
method_grid = {'custom_hooks.0.prompter.scale': [0.01, 0.1, 1.0, 10.0, 100.0]}
