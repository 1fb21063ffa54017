"""Deep prompts that stay as they were drawn: the head alone learns."""

_base_ = ['./deep.py']

custom_hooks = [
    dict(type='PromptTuningHook', prompter=dict(type='DeepPrompter', num_tokens=10), tune=['head', '!prompter'])
]
