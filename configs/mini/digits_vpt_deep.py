"""VPT-deep on the digits, ViT-mini pre-trained with supervision.

    python tools/train.py configs/mini/digits_vpt_deep.py
"""

_base_ = [
    '../_base_/nets/vit_mini_sup.py',
    '../_base_/tasks/digits.py',
    '../_base_/protocols/mini.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=10))
custom_hooks = [
    dict(type='PromptTuningHook', prompter=dict(type='DeepPrompter', num_tokens=10, dropout=0.1), tune=['head'])
]
optim_wrapper = dict(optimizer=dict(lr=1e-2))
