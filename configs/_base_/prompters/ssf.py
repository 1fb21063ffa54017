"""SSF: a scale and a shift after the patch embedding, every norm and every linear map."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='SSF'), tune=['head'])]
