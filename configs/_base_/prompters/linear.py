"""No prompt: the head only."""

custom_hooks = [dict(type='PromptTuningHook', tune=['head'])]
