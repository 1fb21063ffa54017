"""No prompt: only the decode head and its auxiliary heads."""

custom_hooks = [dict(type='PromptTuningHook', tune=['decode_head|auxiliary_head'])]
