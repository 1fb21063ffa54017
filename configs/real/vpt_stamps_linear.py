"""A linear probe on the stamps: a ViT-S/14 of DINOv2's make that was tuned for saliency, at 98 px.

vptx: 52.3 % of the test images (50.4 to 55.4, three seeds), at lr 0.009; docs/real.md has the tables.

python tools/experiment.py configs/real/vpt_*.py --out work_dirs/real/vpt --features work_dirs/real/features
"""

_base_ = [
    '../_base_/nets/vit_s14_saliency.py',
    '../_base_/prompters/linear.py',
    '../_base_/tasks/stamps.py',
    '../_base_/protocols/real.py',
    '../_base_/runtime.py',
]

model = dict(backbone=dict(net=dict(img_size=98)), head=dict(num_classes=7))
optim_wrapper = dict(optimizer=dict(lr=3e-3))
