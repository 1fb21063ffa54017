"""Mini-VTAB: ten tasks of 200 training images, 100 validation images, both for the final runs, and 500 test images.

The default task is mini_digits; set another in a config or with --tasks of tools/experiment.py or tools/sweep.py.
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
# The final runs: on 200 + 100 images, with these seeds.
final = dict(split='trainval', seeds=[42, 43, 44, 45, 46])
