"""Prompts on CLIP as in CoOp: SGD, one epoch at a rate of 1e-5, then cosine; the last of 200 epochs counts.

Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV 2022: batch 32; 100 epochs for 4 and 2 shots, 50 for
1 shot and for ImageNet. As in the public code, the cosine has the length of the whole run and begins one epoch late, so
that it does not reach 0. The public code trains in half precision, where updates below 7.6e-6 are lost; here in single.
"""

epochs, rate, first = 200, 0.002, 1e-5

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=rate, momentum=0.9, weight_decay=5e-4))
param_scheduler = [
    # MMEngine returns to the rate in the last epoch before end: this is one epoch at 1e-5.
    dict(type='ConstantLR', factor=first / rate, by_epoch=True, begin=0, end=2),
    dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True, begin=1, end=epochs),
]
# The published rate. tools/experiment.py selects from more, if there are more.
grid = {'optim_wrapper.optimizer.lr': [rate]}
