"""RepAdapter: linear bottlenecks after the norms, which vptx.merge puts into the maps that read them."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='RepAdapter', hidden=8, dropout=0.1), tune=['head'])]
method_grid = {'custom_hooks.0.prompter.scale': [0.1, 0.5, 1.0, 5.0, 10.0]}
