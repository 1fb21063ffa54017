"""VPT-shallow on Swin as in the paper: prompts and patches are averaged.

Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
"""

custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='ShallowPrompter', num_tokens=10),
        tune=['head'],
        readout='prompts+patches',
    )
]
method_grid = {'custom_hooks.0.prompter.num_tokens': [1, 5, 10, 50]}
