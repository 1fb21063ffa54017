"""CODA-Prompt's: Adam at 0.001 with a cosine, without decay, 20 epochs of a task, batches of 128.

Smith et al. 2023, https://arxiv.org/abs/2211.13218, as for each task of CIFAR-100.
"""

epochs = 20

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper',
    # base learning rate * batch / 256
    optimizer=dict(type='Adam', lr=0.002 * 128 / 256),
)
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, T_max=epochs, begin=0, end=epochs)]
grid = {'base_lr': [0.002]}
auto_scale_lr = dict(base_batch_size=128)
