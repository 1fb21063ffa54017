"""Mona: convolutional bottlenecks after attention and MLP."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='Mona', dropout=0.1), tune=['head'])]
