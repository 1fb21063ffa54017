"""Gated prompts, 100 of them, with temperatures."""

custom_hooks = [
    dict(type='PromptTuningHook', prompter=dict(type='GatedPrompter', num_tokens=100, dropout=0.1), tune=['head'])
]
