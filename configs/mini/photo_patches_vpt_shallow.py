"""VPT-shallow on the photo patches, ViT-mini pre-trained with supervision.

vptx: 66.2 % of the test images (63.8 to 68.8, three seeds), at lr 0.01; a linear probe: 68.4 %.

python tools/train.py configs/mini/photo_patches_vpt_shallow.py
"""

_base_ = [
    '../_base_/nets/vit_mini_sup.py',
    '../_base_/prompters/shallow.py',
    '../_base_/tasks/photo_patches.py',
    '../_base_/protocols/mini.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=17))
optim_wrapper = dict(optimizer=dict(lr=1e-2))
