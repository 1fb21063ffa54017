"""Pixels on the whole image, the clip art, and mappings of ImageNet's 1000 classes: EfficientNet-Lite0 at 128 px.

vptx: random, frequency, iterative, Bayesian, BLM+, linear: 18.7, 29.3, 25.8, 50.5, 48.4, 61.7 %; docs/real.md.

python tools/experiment.py configs/real/reprogram_*.py --out work_dirs/real/reprogram
"""

_base_ = ['./reprogram_clip_art_border.py']

custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='PixelPrompter'),
        mapping=dict(type='IterativeMapping', num_classes=10),
        tune=[],
    )
]
