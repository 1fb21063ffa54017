"""No prompt: everything."""

custom_hooks = [dict(type='PromptTuningHook', tune=['decode_head|auxiliary_head', 'backbone'])]
