"""AdaptFormer: a bottleneck beside the MLP of every layer, of its paper's width."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='AdaptFormer', hidden=64), tune=['head'])]
