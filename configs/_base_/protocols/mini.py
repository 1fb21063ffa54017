"""The mini world's one recipe for every method: AdamW, 6 epochs of warm-up, cosine, the last of 60 epochs counts.

The paper's SGD needs a learning rate found over four orders of magnitude; AdamW is at home in one. The rate
is a start: tools/compare.py chooses among its multiples on the validation split.
"""

epochs, warmup = 60, 6

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs // 3)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-1, weight_decay=1e-4),
    # AdamW moves every number by about the learning rate. A new head has far to go; prompts, which begin at the scale
    # of the tokens, and the weights of the network do not.
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.03))),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / warmup, by_epoch=True, begin=0, end=warmup, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=warmup, end=epochs, convert_to_iter_based=True),
]
