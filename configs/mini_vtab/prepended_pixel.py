"""Patches of pixels before the image, of the ablation of location (figure 5), on the mini VTAB, ViT-mini as elsewhere.

python tools/experiment.py configs/mini_vtab/prepended_pixel.py --tasks all
"""

_base_ = ['./vpt_shallow.py']

custom_hooks = [
    dict(type='PromptTuningHook', prompter=dict(type='PrependedPixelPrompter', num_tokens=10), tune=['head'])
]
