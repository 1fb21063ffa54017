"""Zero-shot: one epoch in which nothing trains, so that there is a file to test, and a study as of others."""

epochs, rate = 1, 0.002

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=rate))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True, begin=0, end=epochs)]
grid = {'optim_wrapper.optimizer.lr': [rate]}
