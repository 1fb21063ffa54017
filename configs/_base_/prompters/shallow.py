"""VPT-shallow: prompts before the first layer, without dropout. The paper chooses their number from 1, 5, ..., 200."""

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='ShallowPrompter', num_tokens=50), tune=['head'])]
