"""Added prompts: a learnt vector for each token, before the first layer."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='AddedPrompter'), tune=['head'])]
