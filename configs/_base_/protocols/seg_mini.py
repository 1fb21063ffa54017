"""The mini world's recipe for segmentation, the same for every method: AdamW, warm-up, cosine, 400 iterations."""

iterations, warmup = 400, 40

train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations, val_interval=iterations)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=1e-4),
    # A new head has far to go.
    paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=3.0))),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / warmup, by_epoch=False, begin=0, end=warmup),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=warmup, end=iterations),
]
