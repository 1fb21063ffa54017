"""Handwritten digits of scikit-learn among others, the one in the middle counts: 800 images of 400 digits to train on,
200 to choose by, 1,197 to test with."""

train_dataloader = dict(
    batch_size=20,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='Digits', split='train', num_train=400, crowded=2, pipeline=[dict(type='PackInputs')]),
)
val_dataloader = dict(
    batch_size=100,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='Digits', split='val', crowded=1, pipeline=[dict(type='PackInputs')]),
)
test_dataloader = dict(
    batch_size=100,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='Digits', split='test', crowded=1, pipeline=[dict(type='PackInputs')]),
)
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
