"""No prompt: the decode head and its auxiliary heads alone."""

custom_hooks = [dict(type='PromptTuningHook', tune=['decode_head|auxiliary_head'])]
