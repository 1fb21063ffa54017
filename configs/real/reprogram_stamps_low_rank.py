"""Pixels of rank 4, the stamps, and mappings of ImageNet's 1000 classes: EfficientNet-Lite0 at 128 px.

vptx: random, frequency, iterative, Bayesian, BLM+, linear: 27.6, 32.6, 30.7, 50.1, 53.2, 63.5 %; docs/real.md.

python tools/experiment.py configs/real/reprogram_*.py --out work_dirs/real/reprogram
"""

_base_ = ['./reprogram_stamps_border.py']

custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='LowRankPrompter', rank=4),
        mapping=dict(type='IterativeMapping', num_classes=7),
        tune=[],
    )
]
