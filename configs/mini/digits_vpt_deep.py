"""VPT-deep on the digits, ViT-mini pre-trained with supervision.

vptx: 85.5 % of the test images (85.1 to 85.6, three seeds), at lr 0.003; a linear probe: 61.1 %.

python tools/train.py configs/mini/digits_vpt_deep.py
"""

_base_ = [
    '../_base_/nets/vit_mini_sup.py',
    '../_base_/tasks/digits.py',
    '../_base_/protocols/mini.py',
    '../_base_/runtime.py',
]

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='DeepPrompter', num_tokens=10), tune=['head'])]
model = dict(head=dict(num_classes=10))
optim_wrapper = dict(optimizer=dict(lr=3e-3))
