"""Pad prompts: a frame of learnt pixels around the image. The paper's for ConvNets, which chooses the width of it."""

custom_hooks = [
    dict(
        type='PromptTuningHook',
        # Pixels in [0, 1], normalised in each forward: the space in which the paper's learning rates were chosen.
        prompter=dict(type='PadPrompter', pad_size=5, space='unit'),
        # Not 'head' alone: that is what ConvNeXt calls a norm of its own, too.
        tune=['head.fc'],
    )
]
method_grid = {'custom_hooks.0.prompter.pad_size': [1, 3, 5, 7, 9, 11]}
