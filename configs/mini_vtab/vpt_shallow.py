"""VPT-shallow on Mini-VTAB, ViT-mini pre-trained with supervision.

python tools/experiment.py configs/mini_vtab/vpt_shallow.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_mini_sup.py',
    '../_base_/tasks/mini_vtab.py',
    '../_base_/protocols/mini_vtab.py',
    '../_base_/runtime.py',
]

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='ShallowPrompter', num_tokens=10), tune=['head'])]

model = dict(head=dict(num_classes=10))
optim_wrapper = dict(optimizer=dict(lr=1e-2))
