"""Mona: convolutional bottlenecks after attention and MLP."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='Mona'), tune=['head'])]
