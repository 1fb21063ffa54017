"""The schedule of the scenes, the same for every method: AdamW, warm-up, cosine, 150 iterations.

The rate is that of a new head; pre-trained parameters get a fraction of it. tools/experiment.py selects one factor for
all rates on the validation images.
"""

_base_ = ['./seg_mini.py']

iterations, warmup = 150, 15

train_cfg = dict(max_iters=iterations, val_interval=iterations)
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / warmup, by_epoch=False, begin=0, end=warmup),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=warmup, end=iterations),
]
