"""Pixels on the whole image, the stamps, and mappings of ImageNet's 1000 classes: EfficientNet-Lite0 at 128 px.

vptx: not run yet; docs/real.md has the tables.

python tools/experiment.py configs/real/reprogram_*.py --out work_dirs/real/reprogram
"""

_base_ = ['./reprogram_stamps_border.py']

custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='PixelPrompter'),
        mapping=dict(type='IterativeMapping', num_classes=7),
        tune=[],
    )
]
