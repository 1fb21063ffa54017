"""Pixels of rank 4, and the digits read off the 240 categories that ViT-mini knows, anew in each epoch.

One row of the table of docs/pixels.md, or one run of it:

python tools/sweep.py configs/mini_pixels/*.py --out work_dirs/mini_pixels
python tools/train.py configs/mini_pixels/low_rank.py
"""

_base_ = ['./border.py']

custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='LowRankPrompter', rank=4),
        mapping=dict(type='IterativeMapping', num_classes=10),
        tune=[],
    )
]
