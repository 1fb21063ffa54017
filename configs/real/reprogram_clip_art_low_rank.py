"""Pixels of rank 4, the clip art, and mappings of ImageNet's 1000 classes: EfficientNet-Lite0 at 128 px.

vptx: random, frequency, iterative, Bayesian, BLM+, linear: 19.8, 27.3, 31.7, 49.8, 48.7, 63.2 %; docs/real.md.

python tools/experiment.py configs/real/reprogram_*.py --out work_dirs/real/reprogram
"""

_base_ = ['./reprogram_clip_art_border.py']

custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='LowRankPrompter', rank=4),
        mapping=dict(type='IterativeMapping', num_classes=10),
        tune=[],
    )
]
