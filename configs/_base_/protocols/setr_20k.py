"""setr_160k.py with an eighth of the iterations."""

_base_ = ['./setr_160k.py']

iterations = 20_000

train_cfg = dict(max_iters=iterations, val_interval=iterations // 10)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=1e-4, by_epoch=False, begin=0, end=iterations)]
