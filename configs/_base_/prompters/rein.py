"""Rein: patches refined by 100 tokens of rank 16 after every layer."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='Rein'), tune=['head'])]
