"""Prompts and linear probes of Jia et al. 2022: SGD, 10 epochs of warm-up, cosine to 100, the last epoch counts.

tools/experiment.py selects a point of grid on the validation split.

One fault of the public code is fixed: its warm-up starts at 0, so nothing is learnt in the first epoch. Here it starts
at a tenth. To reproduce the public code:

    --cfg-options param_scheduler.0.start_factor=1e-8 param_scheduler.0.end=11
"""

epochs, warmup = 100, 10

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=10)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper',
    # base learning rate * batch / 256
    optimizer=dict(type='SGD', lr=5.0 * 128 / 256, momentum=0.9, weight_decay=1e-3),
    paramwise_cfg=dict(custom_keys={'head.fc.bias': dict(decay_mult=0.0)}),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / warmup, by_epoch=True, begin=0, end=warmup),
    dict(type='CosineAnnealingLR', T_max=epochs - warmup, by_epoch=True, begin=warmup, end=epochs),
]
grid = {
    'base_lr': [50, 25, 10, 5, 2.5, 1, 0.5, 0.25, 0.1, 0.05],
    'optim_wrapper.optimizer.weight_decay': [0.01, 0.001, 0.0001, 0],
}
auto_scale_lr = dict(base_batch_size=128)
