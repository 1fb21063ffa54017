"""Tux Paint's cut-outs on white, 7 classes, many of them photographs: ``make real`` fetches it, docs/real.md.

15 training images of each class, 105; 93 validation and 139 test images; 98 px.
"""

pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(98, 98), interpolation='bicubic', backend='pillow'),
    dict(type='PackInputs'),
]
data = dict(type='CustomImages', data_root='real://stamps', pipeline=pipeline)
train_dataloader = dict(
    batch_size=15,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**data, split='train', subset=dict(shots=15)),
)
val_dataloader = dict(
    batch_size=30,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**data, split='val'),
)
test_dataloader = dict(
    batch_size=30,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**data, split='test'),
)
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
