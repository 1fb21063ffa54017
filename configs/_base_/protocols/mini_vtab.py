"""The schedule of Mini-VTAB: 6 epochs, the first for warm-up, the rate selected from three for each task."""

_base_ = ['./mini.py']

epochs, warmup = 6, 1

train_cfg = dict(max_epochs=epochs, val_interval=epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=True, begin=0, end=warmup, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=warmup, end=epochs, convert_to_iter_based=True),
]
# For a batch of 256 images: at a batch of 20, 0.003, 0.01 and 0.03.
grid = {'base_lr': [0.003 * 256 / 20, 0.01 * 256 / 20, 0.03 * 256 / 20]}
