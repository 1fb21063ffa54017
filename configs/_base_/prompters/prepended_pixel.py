"""Prepended pixel prompts: learnt patches beside the image."""

custom_hooks = [
    dict(type='PromptTuningHook', prompter=dict(type='PrependedPixelPrompter', num_tokens=50), tune=['head'])
]
