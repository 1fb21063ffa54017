"""The mini world's one recipe for every method: AdamW, one epoch of warm-up, cosine, the last of 10 epochs counts.

The paper's SGD needs a learning rate found over four orders of magnitude; AdamW is at home in one. The rate belongs
to a leaf, and is chosen on the validation split by tools/compare.py.
"""

epochs, warmup = 10, 1

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs // 2)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=1e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / warmup, by_epoch=True, begin=0, end=warmup, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=warmup, end=epochs, convert_to_iter_based=True),
]
