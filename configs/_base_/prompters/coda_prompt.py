"""CODA-Prompt: prefixes that each image weighs from components; with one task, all of them train."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='CODAPrompt', tasks=1), tune=['head'])]
