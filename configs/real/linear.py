"""A linear probe on real images: a ViT-S/14 of DINOv2's make that was tuned for saliency, at 98 px.

python tools/experiment.py configs/real/linear.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_s14_saliency.py',
    '../_base_/prompters/linear.py',
    '../_base_/tasks/real_images.py',
    '../_base_/protocols/real.py',
    '../_base_/runtime.py',
]

model = dict(backbone=dict(net=dict(img_size=98)), head=dict(num_classes=7))
final = dict(curve=6)
