"""Which of scikit-image's photographs does a grey patch come from?

510 training, 510 validation and 1,020 test patches.
"""

train_dataloader = dict(
    batch_size=17,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='PhotoPatches', split='train', num_train=510, pipeline=[dict(type='PackInputs')]),
)
val_dataloader = dict(
    batch_size=100,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='PhotoPatches', split='val', pipeline=[dict(type='PackInputs')]),
)
test_dataloader = dict(
    batch_size=100,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='PhotoPatches', split='test', pipeline=[dict(type='PackInputs')]),
)
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
