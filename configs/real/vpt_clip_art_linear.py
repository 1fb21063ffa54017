"""A linear probe on the clip art: a ViT-S/14 of DINOv2's make that was tuned for saliency, at 98 px.

vptx: 42.3 % of the test images (41.2 to 44.0, three seeds), at lr 0.009; docs/real.md has the tables.

python tools/experiment.py configs/real/vpt_*.py --out work_dirs/real/vpt --features work_dirs/real/features
"""

_base_ = [
    '../_base_/nets/vit_s14_saliency.py',
    '../_base_/prompters/linear.py',
    '../_base_/tasks/clip_art.py',
    '../_base_/protocols/real.py',
    '../_base_/runtime.py',
]

model = dict(backbone=dict(net=dict(img_size=98)), head=dict(num_classes=10))
optim_wrapper = dict(optimizer=dict(lr=3e-3))
