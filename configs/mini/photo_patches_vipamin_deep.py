"""VIPAMIN, deep, on the photo patches: VPT-deep whose prompts start near tokens of the training images.

Park et al., "VIPAMIN: Visual Prompt Initialization via Embedding Selection and Subspace Expansion", NeurIPS 2025, for
networks pre-trained without labels: --net vit_mini_mae or vit_mini_mocov3.

python tools/train.py configs/mini/photo_patches_vipamin_deep.py --net vit_mini_mae
"""

_base_ = ['./photo_patches_vpt_deep.py']

custom_hooks = [
    dict(type='PromptTuningHook', prompter=dict(type='DeepPrompter', num_tokens=10), tune=['head']),
    dict(type='PromptInitHook', pool='vipamin'),
]
