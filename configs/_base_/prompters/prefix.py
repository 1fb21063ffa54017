"""Prefix tuning: learnt keys and values in every layer."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='PrefixPrompter', num_tokens=5), tune=['head'])]
method_grid = {'custom_hooks.0.prompter.num_tokens': [1, 5, 10, 50]}
