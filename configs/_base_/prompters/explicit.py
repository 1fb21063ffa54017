"""EVP: high frequencies of the image and embedded patches, added before every layer."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='ExplicitPrompter', reduction=4), tune=['head'])]
method_grid = {'custom_hooks.0.prompter.reduction': [4, 16, 32, 64]}
