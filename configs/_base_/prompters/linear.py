"""No prompt: the head alone."""

custom_hooks = [dict(type='PromptTuningHook', tune=['head'])]
