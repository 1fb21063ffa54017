"""Full fine-tuning on the clip art: a ViT-S/14 of DINOv2's make that was tuned for saliency, at 98 px.

vptx: 39.7 % of the test images (39.0 to 40.7, three seeds), at lr 3e-05; docs/real.md has the tables.

python tools/experiment.py configs/real/vpt_*.py --out work_dirs/real/vpt --features work_dirs/real/features
"""

_base_ = [
    '../_base_/nets/vit_s14_saliency.py',
    '../_base_/prompters/full.py',
    '../_base_/tasks/clip_art.py',
    '../_base_/protocols/real.py',
    '../_base_/runtime.py',
]

model = dict(backbone=dict(net=dict(img_size=98)), head=dict(num_classes=10))
# The head takes thirty times the rate of the weights of the network.
optim_wrapper = dict(optimizer=dict(lr=1e-4), paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=30))))
