"""SETR's schedule in mmsegmentation: SGD, poly, 160,000 iterations of 16 images, heads ten times as fast.

The same for every method, as in VPT's comparison. The authors of VPT published none of these rates.
"""

iterations = 160_000

train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations, val_interval=iterations // 10)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.001, momentum=0.9, weight_decay=0.0),
    paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=10.0))),
)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=1e-4, by_epoch=False, begin=0, end=iterations)]
auto_scale_lr = dict(base_batch_size=16)
