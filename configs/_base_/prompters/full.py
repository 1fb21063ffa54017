"""No prompt: everything."""

custom_hooks = [dict(type='PromptTuningHook', tune=['head', 'backbone'])]
