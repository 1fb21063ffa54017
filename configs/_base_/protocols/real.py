"""The schedule of the studies on real images, for every method: AdamW, an epoch of warm-up, then cosine, 10 epochs.

The rate is that of a new head; weights of the network get a fraction of it. tools/experiment.py selects one factor for
all rates on the validation images.
"""

epochs, warmup = 10, 1

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=3e-3, weight_decay=1e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=True, begin=0, end=warmup, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=warmup, end=epochs, convert_to_iter_based=True),
]
final = dict(seeds=[42, 43, 44, 45, 46])
