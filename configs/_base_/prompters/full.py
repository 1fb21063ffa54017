"""No prompt: all parameters."""

custom_hooks = [dict(type='PromptTuningHook', tune=['head', 'backbone'])]
