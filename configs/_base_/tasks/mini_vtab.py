"""The mini VTAB: ten tasks of 200 images to train on, 100 to choose by, both for the last runs, and 500 to test with.

The task is mini_digits until a leaf, or --tasks of tools/experiment.py or tools/sweep.py, says another.
"""

train_dataloader = dict(
    batch_size=20,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='MiniVTAB', task='mini_digits', split='train', pipeline=[dict(type='PackInputs')]),
)
val_dataloader = dict(
    batch_size=100,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='MiniVTAB', task='mini_digits', split='val', pipeline=[dict(type='PackInputs')]),
)
test_dataloader = dict(
    batch_size=100,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='MiniVTAB', task='mini_digits', split='test', pipeline=[dict(type='PackInputs')]),
)
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
# When the grid has chosen: on 200 + 100 images, with these seeds.
final = dict(split='trainval', seeds=[42, 43, 44])
