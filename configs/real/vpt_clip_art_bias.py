"""Biases on the clip art: a ViT-S/14 of DINOv2's make that was tuned for saliency, at 98 px.

vptx: 50.9 % of the test images (47.3 to 54.9, three seeds), at lr 0.003; docs/real.md has the tables.

python tools/experiment.py configs/real/vpt_*.py --out work_dirs/real/vpt --features work_dirs/real/features
"""

_base_ = [
    '../_base_/nets/vit_s14_saliency.py',
    '../_base_/prompters/bias.py',
    '../_base_/tasks/clip_art.py',
    '../_base_/protocols/real.py',
    '../_base_/runtime.py',
]

model = dict(backbone=dict(net=dict(img_size=98)), head=dict(num_classes=10))
# The head takes three times the rate of the biases.
optim_wrapper = dict(optimizer=dict(lr=1e-3), paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=3))))
