"""VAPT: deep prompts made of each image; 10 and 8 are the paper's choice for VTAB-1k's CIFAR-100."""

custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='AdaptivePrompter', num_tokens=10, hidden=8, dropout=0.1),
        tune=['head'],
    )
]
method_grid = {'custom_hooks.0.prompter.num_tokens': [1, 5, 10, 50]}
