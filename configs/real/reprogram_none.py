"""No prompt on real images: mappings of ImageNet's 1000 classes alone: EfficientNet-Lite0 at 128 px.

vptx, in per cent, random, frequency, iterative, Bayesian, BLM+, linear: stamps 10.1, 20.9, 20.9, 52.5, 53.2, 63.1;
clip art 8.1, 26.9, 26.9, 48.4, 48.9, 61.0. docs/real.md has the ranges.

python tools/experiment.py configs/real/reprogram_*.py --tasks all --out work_dirs/real/reprogram
"""

_base_ = ['./reprogram_border.py']

custom_hooks = [dict(type='PromptTuningHook', mapping=dict(type='IterativeMapping', num_classes=7), tune=[])]

# Nothing trains, so there is nothing to select, and one epoch is enough.
once = {'grid.base_lr': [0.03 * 256 / 15], 'train_cfg.max_epochs': 1}
variants = dict(random=once, frequency=once, iterative=once, bayesian=once, bayesian_plus=once)
