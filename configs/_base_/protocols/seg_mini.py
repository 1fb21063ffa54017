"""The schedule of the mini ADE20K, the same for every method: AdamW, warm-up, cosine, 200 iterations.

The rate is that of a new head; pre-trained parameters get a fraction of it. tools/experiment.py selects one factor for
all rates on the validation images.
"""

iterations, warmup = 200, 20

train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations, val_interval=iterations)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=0.01, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.03), 'backbone.prompter': dict(lr_mult=3.0)}),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / warmup, by_epoch=False, begin=0, end=warmup),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=warmup, end=iterations),
]
