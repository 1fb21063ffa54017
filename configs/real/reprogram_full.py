"""Pixels on the whole of real images, and mappings of ImageNet's 1000 classes: EfficientNet-Lite0 at 128 px.

vptx, in per cent, random, frequency, iterative, Bayesian, BLM+, linear: stamps 23.5, 33.3, 26.9, 50.4, 50.1, 60.0;
clip art 18.7, 29.3, 25.8, 50.5, 48.4, 61.7. docs/real.md has the ranges.

python tools/experiment.py configs/real/reprogram_*.py --tasks all --out work_dirs/real/reprogram
"""

_base_ = ['./reprogram_border.py']

custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='PixelPrompter'),
        mapping=dict(type='IterativeMapping', num_classes=7),
        tune=[],
    )
]
