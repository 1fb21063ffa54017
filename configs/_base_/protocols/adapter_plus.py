"""AdamW at one rate for all tasks, and one evaluation, after the last of 100 epochs; nothing is chosen.

Steitz and Roth, "Adapters Strike Back", CVPR 2024, https://arxiv.org/abs/2406.06820, with batches of 64, which an
experiment config sets. RepAdapter and the methods of https://github.com/JieShibo/PETL-ViT (FacT, Convpass) have the
same schedule: AdamW, 0.001, weight decay 0.0001, 10 epochs of warm-up.
"""

epochs, warmup = 100, 10

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=10)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper',
    # base learning rate * batch / 256
    optimizer=dict(type='AdamW', lr=0.004 * 64 / 256, weight_decay=1e-4),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / warmup, by_epoch=True, begin=0, end=warmup),
    dict(type='CosineAnnealingLR', T_max=epochs - warmup, by_epoch=True, begin=warmup, end=epochs),
]
grid = {'base_lr': [0.004]}
auto_scale_lr = dict(base_batch_size=64)
