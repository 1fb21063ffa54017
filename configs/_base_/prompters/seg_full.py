"""No prompt: all parameters."""

custom_hooks = [dict(type='PromptTuningHook', tune=['decode_head|auxiliary_head', 'backbone'])]
