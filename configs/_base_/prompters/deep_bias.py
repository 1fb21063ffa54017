"""VPT-deep, and every bias of the network."""

_base_ = ['./deep.py']

custom_hooks = [
    dict(type='PromptTuningHook', prompter=dict(type='DeepPrompter', num_tokens=10, dropout=0.1), tune=['head', 'bias'])
]
