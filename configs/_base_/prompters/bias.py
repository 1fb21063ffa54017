"""No prompt: the head and every bias of the network (BitFit)."""

custom_hooks = [dict(type='PromptTuningHook', tune=['head', 'bias'])]
