"""LoRA: rank 8, on queries and values."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='LoRA', rank=8, targets=['q', 'v']), tune=['head'])]
