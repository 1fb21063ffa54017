"""L2P: the five nearest prompts of a pool of ten; the head reads the average of their outputs."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='L2P'), tune=['head'], readout='prompts')]
