"""No prompt: the digits read off the 240 categories that ViT-mini knows, as they are. What a mapping gains alone.

One row of the table of docs/pixels.md, or one run of it:

python tools/sweep.py configs/mini_pixels/*.py --out work_dirs/mini_pixels
python tools/train.py configs/mini_pixels/none.py
"""

_base_ = [
    '../_base_/nets/vit_mini_sup.py',
    '../_base_/tasks/digits.py',
    '../_base_/protocols/mini_pixels.py',
    '../_base_/runtime.py',
]

train_dataloader = dict(dataset=dict(num_train=100))  # of the 400 digits, each shown twice: the table has 90 runs
# The network keeps its own classifier.
model = dict(backbone=dict(net=dict(num_classes=240)), head=dict(_delete_=True, type='ClsHead'))
custom_hooks = [dict(type='PromptTuningHook', mapping=dict(type='IterativeMapping', num_classes=10), tune=[])]

# Where nothing trains there is nothing to choose, and one epoch is as good as ten.
once = {'grid.base_lr': [0.01 * 256 / 20], 'train_cfg.max_epochs': 1}
variants = dict(random=once, frequency=once, iterative=once, bayesian=once)
