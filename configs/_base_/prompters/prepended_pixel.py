"""Prepended pixel prompts: learnt patches, embedded like those of the image."""

custom_hooks = [
    dict(type='PromptTuningHook', prompter=dict(type='PrependedPixelPrompter', num_tokens=50), tune=['head'])
]
