"""CIFAR-100, all of it: 45,000 training, 5,000 validation and 10,000 test images.

Not the task of that name in VTAB-1k, which trains on 1,000 of these images. Prepared as in VTAB: resized to 224 px
by Pillow's bilinear filter, no augmentation.
"""

pipeline = [
    dict(type='Resize', scale=224, interpolation='bilinear', backend='pillow'),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=128,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='HoldoutCIFAR100', data_root='data/cifar100', split='train', pipeline=pipeline),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='HoldoutCIFAR100', data_root='data/cifar100', split='val', pipeline=pipeline),
)
test_dataloader = dict(
    batch_size=128,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='HoldoutCIFAR100', data_root='data/cifar100', split='test', pipeline=pipeline),
)
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
