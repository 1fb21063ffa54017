"""EVP's: AdamW at 0.0002 with a cosine, 20 epochs, batches of 4.

Liu et al. 2023, https://arxiv.org/abs/2303.10883.
"""

epochs = 20

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper',
    # base learning rate * batch / 256
    optimizer=dict(type='AdamW', lr=0.0128 * 4 / 256),
)
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, T_max=epochs, begin=0, end=epochs)]
grid = {'base_lr': [0.0128]}
auto_scale_lr = dict(base_batch_size=4)
