"""CoOp's data sets: 16 training and 4 validation images of each class, and all test images.

Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV 2022. The default task is coop_dtd; set another in a
config or with tools/experiment.py --tasks. Final runs draw other images for each seed, as in the papers. They do not
train on the validation images.
"""

shots = 16

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224, crop_ratio_range=(0.08, 1.0), interpolation='bicubic', backend='pillow'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=224, edge='short', interpolation='bicubic', backend='pillow'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CoOpTask',
        data_root='data/coop',
        task='coop_dtd',
        split='train',
        subset=dict(shots=shots, seed=1),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=100,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CoOpTask',
        data_root='data/coop',
        task='coop_dtd',
        split='val',
        subset=dict(shots=min(shots, 4), seed=1),
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    batch_size=100,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CoOpTask', data_root='data/coop', task='coop_dtd', split='test', pipeline=test_pipeline),
)
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = dict(type='Accuracy', topk=(1,))
final = dict(split='train', seeds=[1, 2, 3], new_subsets=True)
