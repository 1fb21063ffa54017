"""The mini world's recipe, half as long, on the mini VTAB: 15 epochs, the rate chosen from three for each task."""

_base_ = ['./mini.py']

epochs, warmup = 15, 2

train_cfg = dict(max_epochs=epochs, val_interval=epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / warmup, by_epoch=True, begin=0, end=warmup, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=warmup, end=epochs, convert_to_iter_based=True),
]
# Of 256 images: at a batch of 40, 0.003, 0.01 and 0.03.
grid = {'base_lr': [0.003 * 256 / 40, 0.01 * 256 / 40, 0.03 * 256 / 40]}
