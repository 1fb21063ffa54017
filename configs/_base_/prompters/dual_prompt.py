"""DualPrompt: prefixes of all tasks, and an expert of each; with one task, its only expert."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='DualPrompt', tasks=1), tune=['head'])]
