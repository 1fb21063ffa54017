"""L2P's and DualPrompt's: Adam at a constant rate, without decay, gradients clipped to 1, 5 epochs of a task.

Wang et al. 2022, https://arxiv.org/abs/2112.08654 and https://arxiv.org/abs/2204.04799, as for each task of CIFAR-100
in public ports to PyTorch: base rate 0.03, batches of 16 (L2P) and 24 (DualPrompt), which an experiment config sets.
"""

epochs = 5

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper',
    # base learning rate * batch / 256
    optimizer=dict(type='Adam', lr=0.03 * 16 / 256),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [dict(type='ConstantLR', factor=1.0, by_epoch=True, begin=0, end=epochs)]
grid = {'base_lr': [0.03]}
auto_scale_lr = dict(base_batch_size=16)
