"""VPT-shallow on the stamps: a ViT-S/14 of DINOv2's make that was tuned for saliency, at 98 px.

vptx: 41.5 % of the test images (38.8 to 44.6, three seeds), at lr 0.0009; docs/real.md has the tables.

python tools/experiment.py configs/real/vpt_*.py --out work_dirs/real/vpt --features work_dirs/real/features
"""

_base_ = [
    '../_base_/nets/vit_s14_saliency.py',
    '../_base_/tasks/stamps.py',
    '../_base_/protocols/real.py',
    '../_base_/runtime.py',
]

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='ShallowPrompter', num_tokens=10), tune=['head'])]
model = dict(backbone=dict(net=dict(img_size=98)), head=dict(num_classes=7))
optim_wrapper = dict(optimizer=dict(lr=1e-2))
