"""Pad prompts: a frame of learnt pixels around the image. The paper's for ConvNets, which chooses the width of it."""

# Not 'head' alone: that is what ConvNeXt calls a norm of its own, too.
custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='PadPrompter', pad_size=5), tune=['head.fc'])]
method_grid = {'custom_hooks.0.prompter.pad_size': [1, 3, 5, 7, 9, 11]}
