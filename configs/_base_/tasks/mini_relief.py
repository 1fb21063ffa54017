"""Which texture and shape? Twenty classes of the task 'relief': vptx/datasets/mini/figure_tasks.py.

320 training images, 16 of each class; 200 validation and 1,000 test images.
"""

train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='FigureTask', task='relief', split='train', subset=dict(shots=16), pipeline=[dict(type='PackInputs')]
    ),
)
val_dataloader = dict(
    batch_size=200,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='FigureTask', task='relief', split='val', pipeline=[dict(type='PackInputs')]),
)
test_dataloader = dict(
    batch_size=200,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='FigureTask', task='relief', split='test', pipeline=[dict(type='PackInputs')]),
)
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
