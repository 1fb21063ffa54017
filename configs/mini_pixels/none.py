"""No prompt: a mapping of the 240 categories of ViT-mini to the digits. It measures the gain of the mapping alone.

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

train_dataloader = dict(dataset=dict(num_train=100))  # of the 400 digits, each in two images: the table has 90 runs
# The network keeps its own classifier.
model = dict(backbone=dict(net=dict(num_classes=240)), head=dict(_delete_=True, type='ClsHead'))
custom_hooks = [dict(type='PromptTuningHook', mapping=dict(type='IterativeMapping', num_classes=10), tune=[])]

# Nothing trains, so there is nothing to select, and one epoch is enough.
once = {'grid.base_lr': [0.01 * 256 / 20], 'train_cfg.max_epochs': 1}
variants = dict(random=once, frequency=once, iterative=once, bayesian=once)
