"""VPT-deep on the photo patches, ViT-mini pre-trained with supervision.

vptx: 70.3 % of the test images (68.7 to 71.7, three seeds), at lr 0.003; a linear probe: 68.4 %.

python tools/train.py configs/mini/photo_patches_vpt_deep.py
"""

_base_ = [
    '../_base_/nets/vit_mini_sup.py',
    '../_base_/tasks/photo_patches.py',
    '../_base_/protocols/mini.py',
    '../_base_/runtime.py',
]

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='DeepPrompter', num_tokens=10), tune=['head'])]
model = dict(head=dict(num_classes=17))
optim_wrapper = dict(optimizer=dict(lr=3e-3))
