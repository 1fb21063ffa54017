"""No prompt: the heads and every bias of the network (BitFit)."""

custom_hooks = [dict(type='PromptTuningHook', tune=['decode_head|auxiliary_head', 'bias'])]
