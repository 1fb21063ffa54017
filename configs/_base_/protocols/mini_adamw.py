"""Weights of the network in the mini world: AdamW, otherwise as mini_sgd.py."""

_base_ = ['./mini_sgd.py']

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, weight_decay=1e-4),
)
