"""A border of 12 px on real images, and mappings of ImageNet's 1000 classes: EfficientNet-Lite0 at 128 px.

vptx, in per cent, random, frequency, iterative, Bayesian, BLM+, linear: stamps 11.8, 26.4, 25.7, 49.4, 47.0, 64.3;
clip art 13.9, 29.3, 29.5, 49.5, 47.6, 59.3. docs/real.md has the ranges.

python tools/experiment.py configs/real/reprogram_*.py --tasks all --out work_dirs/real/reprogram
"""

_base_ = [
    '../_base_/nets/efficientnet_lite0.py',
    '../_base_/tasks/real_images.py',
    '../_base_/protocols/real_pixels.py',
    '../_base_/runtime.py',
]

pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(128, 128), interpolation='bicubic', backend='pillow'),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))
# The network keeps its own classifier.
model = dict(backbone=dict(net=dict(img_size=128, num_classes=1000)), head=dict(_delete_=True, type='ClsHead'))
custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='BorderPrompter', width=12, init='zero'),
        mapping=dict(type='IterativeMapping', num_classes=7),
        tune=[],
    )
]
