"""The schedule of the mini benchmarks, for every method: AdamW, a constant epoch, then cosine; the last of 10 counts.

The paper's SGD needs a learning rate from four orders of magnitude; AdamW from one. The rate is set in the experiment
config; tools/experiment.py selects it on the validation split.
"""

steady, epochs = 1, 10

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs // 2)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=1e-4))
param_scheduler = [
    dict(type='CosineAnnealingLR', by_epoch=True, begin=steady, end=epochs, convert_to_iter_based=True),
]
