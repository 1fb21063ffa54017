"""Pixels of rank 4 on real images, and mappings of ImageNet's 1000 classes: EfficientNet-Lite0 at 128 px.

vptx, in per cent, random, frequency, iterative, Bayesian, BLM+, linear: stamps 27.6, 32.6, 30.7, 50.1, 53.2, 63.5;
clip art 19.8, 27.3, 31.7, 49.8, 48.7, 63.2. docs/real.md has the ranges.

python tools/experiment.py configs/real/reprogram_*.py --tasks all --out work_dirs/real/reprogram
"""

_base_ = ['./reprogram_border.py']

custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='LowRankPrompter', rank=4),
        mapping=dict(type='IterativeMapping', num_classes=7),
        tune=[],
    )
]
