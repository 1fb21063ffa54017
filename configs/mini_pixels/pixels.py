"""Pixels on the whole image, and a mapping of the 240 categories of ViT-mini to the digits, estimated in each epoch.

One row of the table of docs/pixels.md, or one run of it:

python tools/sweep.py configs/mini_pixels/*.py --out work_dirs/mini_pixels
python tools/train.py configs/mini_pixels/pixels.py
"""

_base_ = ['./border.py']

custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='PixelPrompter'),
        mapping=dict(type='IterativeMapping', num_classes=10),
        tune=[],
    )
]
