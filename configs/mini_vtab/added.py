"""Vectors added to the tokens, of the ablation of location (figure 5), on the mini VTAB, ViT-mini as elsewhere.

python tools/experiment.py configs/mini_vtab/added.py --tasks all
"""

_base_ = ['./vpt_shallow.py']

custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='AddedPrompter'), tune=['head'])]
