"""Pad prompts: a frame of learnt pixels around the image. The paper's for ConvNets, which chooses the width of it."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='PadPrompter', pad_size=5), tune=['head'])]
method_grid = {'custom_hooks.0.prompter.pad_size': [1, 3, 5, 7, 9, 11]}
