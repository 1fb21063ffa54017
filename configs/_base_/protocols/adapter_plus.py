"""Steitz and Roth, "Adapters Strike Back", CVPR 2024: AdamW at one rate for all tasks, batches of 64, and one evaluation
after the last of 100 epochs. Nothing is chosen but the method's own settings.

The same schedule serves the methods of https://github.com/JieShibo/PETL-ViT (FacT, Convpass) and RepAdapter: AdamW,
0.001, weight decay 0.0001, batches of 64, 100 epochs, warm-up 10.
"""

epochs, warmup = 100, 10

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=10)
val_cfg = dict()
test_cfg = dict()
train_dataloader = dict(batch_size=64)
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
