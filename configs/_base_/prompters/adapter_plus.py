"""Adapter+: a scaled bottleneck after every layer. The rank is the only choice that its authors make for a network."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='AdapterPlus', rank=8, drop_path=0.1), tune=['head'])]
method_grid = {'custom_hooks.0.prompter.rank': [1, 2, 4, 8, 16, 32]}
