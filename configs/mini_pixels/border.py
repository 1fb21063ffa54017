"""A border of 8 px, and a mapping of the 240 categories of ViT-mini to the digits, estimated again in each epoch.

One row of the table of docs/pixels.md, or one run of it:

python tools/sweep.py configs/mini_pixels/*.py --out work_dirs/mini_pixels
python tools/train.py configs/mini_pixels/border.py
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
custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='BorderPrompter', width=8, init='zero'),
        mapping=dict(type='IterativeMapping', num_classes=10),
        tune=[],
    )
]
