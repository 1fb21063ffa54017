"""Deep prompts that stay random: only the head is trained."""

_base_ = ['./deep.py']

custom_hooks = [
    dict(type='PromptTuningHook', prompter=dict(type='DeepPrompter', num_tokens=10), tune=['head', '!prompter'])
]
