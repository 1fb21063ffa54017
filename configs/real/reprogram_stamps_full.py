"""Pixels on the whole image, the stamps, and mappings of ImageNet's 1000 classes: EfficientNet-Lite0 at 128 px.

vptx: random, frequency, iterative, Bayesian, BLM+, linear: 23.5, 33.3, 26.9, 50.4, 50.1, 60.0 %; docs/real.md.

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
