"""CVPT: prompts that tokens attend to by themselves, between attention and MLP. Chosen from 1 to 200 for each task."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='CrossPrompter', num_tokens=20), tune=['head'])]
method_grid = {'custom_hooks.0.prompter.num_tokens': [1, 10, 20, 50, 100, 200]}
