"""VFPT: deep prompts, a share of them Fourier transforms. Its authors choose the share for each task."""

custom_hooks = [
    dict(type='PromptTuningHook', prompter=dict(type='FourierPrompter', num_tokens=10, dropout=0.1), tune=['head'])
]
method_grid = {'custom_hooks.0.prompter.share': [0.0, 0.3, 0.5, 0.7, 1.0]}
