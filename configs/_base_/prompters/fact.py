"""FacT-TK: updates of all linear maps as one tensor of low rank."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='FacT', rank=16, dropout=0.1), tune=['head'])]
method_grid = {'custom_hooks.0.prompter.scale': [0.01, 0.1, 1.0, 10.0, 100.0]}
