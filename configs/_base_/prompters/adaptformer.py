"""AdaptFormer: a bottleneck parallel to the MLP of every layer, with the width of its paper."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='AdaptFormer', hidden=64), tune=['head'])]
