"""A border of 8 px on the digits, under a linear head, ViT-mini pre-trained with supervision.

python tools/train.py configs/mini/digits_border_linear.py
"""

_base_ = [
    '../_base_/nets/vit_mini_sup.py',
    '../_base_/tasks/digits.py',
    '../_base_/protocols/mini.py',
    '../_base_/runtime.py',
]

custom_hooks = [
    dict(type='PromptTuningHook', prompter=dict(type='BorderPrompter', width=8, init='zero'), tune=['head'])
]
model = dict(head=dict(num_classes=10))
optim_wrapper = dict(optimizer=dict(lr=9e-2), paramwise_cfg=dict(custom_keys=dict(prompter=dict(lr_mult=0.1))))
