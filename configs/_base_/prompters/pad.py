"""Pad prompts: a frame of learnt pixels around the image. For ConvNets in the paper, which selects its width."""

custom_hooks = [
    dict(
        type='PromptTuningHook',
        # Pixels in [0, 1], normalised in each forward: the space in which the paper's learning rates were selected.
        prompter=dict(type='PadPrompter', pad_size=5, space='unit'),
        # Not only 'head': ConvNeXt also has a norm of this name.
        tune=['head.fc'],
    )
]
method_grid = {'custom_hooks.0.prompter.pad_size': [1, 3, 5, 7, 9, 11]}
