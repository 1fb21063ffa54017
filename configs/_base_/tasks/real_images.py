"""Real images of 98 px: stamps, cut-outs on white of which about half are photographs, 7 classes; clip art, 10 classes.

``make real`` fetches them: docs/real.md. 15 training images of each class, 105 and 150; 93 and 122 validation images;
139 and 182 test images. The default task is stamps; set another in a config or with --tasks of tools/experiment.py.
"""

pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(98, 98), interpolation='bicubic', backend='pillow'),
    dict(type='PackInputs'),
]
data = dict(type='RealImages', task='stamps', pipeline=pipeline)
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
