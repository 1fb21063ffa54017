"""CoCoOp: 10 epochs of batch 1, otherwise as clip_coop.py. Zhou et al., CVPR 2022, https://arxiv.org/abs/2203.05557"""

_base_ = ['./clip_coop.py']

epochs, rate, first = 10, 0.002, 1e-5

train_cfg = dict(max_epochs=epochs, val_interval=epochs)
optim_wrapper = dict(optimizer=dict(lr=rate))
param_scheduler = [
    dict(type='ConstantLR', factor=first / rate, by_epoch=True, begin=0, end=2),
    dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True, begin=1, end=epochs),
]
grid = {'optim_wrapper.optimizer.lr': [rate]}
