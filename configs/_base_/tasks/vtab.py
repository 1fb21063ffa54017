"""VTAB-1k: 19 tasks of 800 training images, 200 validation images, both for the final runs, and a test split.

The default task is CIFAR-100; set another in a config or with tools/experiment.py --tasks. Images prepared as in Jia et
al. 2022: TensorFlow 1's bilinear resize, no augmentation; tasks/vtab_bicubic.py has the input of later papers.
"""

pipeline = [dict(type='LoadImageFromFile'), dict(type='LegacyResize', scale=224), dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=128,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='BenchmarkTask', data_root='data/vtab-1k', task='cifar', split='train', pipeline=pipeline),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='BenchmarkTask', data_root='data/vtab-1k', task='cifar', split='val', pipeline=pipeline),
)
test_dataloader = dict(
    batch_size=128,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='BenchmarkTask', data_root='data/vtab-1k', task='cifar', split='test', pipeline=pipeline),
)
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
# The final runs: on 800 + 200 images, with these seeds.
final = dict(split='trainval', seeds=[42, 44, 82, 100, 800])
