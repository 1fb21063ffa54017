"""VPT and deep language prompts on CLIP: 5 epochs of batch 4 at 0.0025, otherwise as clip_coop.py.

Baselines of Khattak et al., "MaPLe", CVPR 2023, https://arxiv.org/abs/2210.03117
"""

_base_ = ['./clip_coop.py']

epochs, rate, first = 5, 0.0025, 1e-5

train_cfg = dict(max_epochs=epochs, val_interval=epochs)
optim_wrapper = dict(optimizer=dict(lr=rate))
param_scheduler = [
    dict(type='ConstantLR', factor=first / rate, by_epoch=True, begin=0, end=2),
    dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True, begin=1, end=epochs),
]
grid = {'optim_wrapper.optimizer.lr': [rate]}
