"""Weights of the network itself, all or the biases, as Jia et al. 2022 tune them: AdamW, otherwise as vpt_sgd.py.

A second fault of the public code is fixed: its AdamW uses weight decay 0.01 for any setting, and becomes SGD for the
setting 0. Here weight decay is the value below; biases have none.
"""

_base_ = ['./vpt_sgd.py']

optim_wrapper = dict(
    # base learning rate * batch / 256
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-3 * 128 / 256, weight_decay=0.01),
    paramwise_cfg=dict(_delete_=True, custom_keys={'bias': dict(decay_mult=0.0)}),
)
grid = {
    'base_lr': [0.005, 0.001, 0.0005, 0.0001],
    'optim_wrapper.optimizer.weight_decay': [0.01, 0.001, 0.0001, 0],
}
