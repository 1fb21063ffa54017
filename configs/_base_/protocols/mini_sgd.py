"""Prompts and heads in the mini world, the paper's way: SGD, 5 epochs of warm-up, cosine, the last epoch counts.

The learning rate belongs to a leaf. It is chosen on the validation split, by tools/compare.py.
"""

epochs, warmup = 50, 5

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs // 5)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={'head.fc.bias': dict(decay_mult=0.0)}),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / warmup, by_epoch=True, begin=0, end=warmup, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=warmup, end=epochs, convert_to_iter_based=True),
]
