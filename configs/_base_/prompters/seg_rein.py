"""Rein under decode heads."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='Rein'), tune=['decode_head|auxiliary_head'])]
