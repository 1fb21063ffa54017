"""The mini world's one recipe for every method: AdamW, a steady epoch, then cosine; the last of 10 counts.

The paper's SGD needs a learning rate found over four orders of magnitude; AdamW is at home in one. The rate belongs
to a leaf, and is chosen on the validation split by tools/experiment.py.
"""

steady, epochs = 1, 10

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs // 2)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=1e-4))
param_scheduler = [
    dict(type='CosineAnnealingLR', by_epoch=True, begin=steady, end=epochs, convert_to_iter_based=True),
]
