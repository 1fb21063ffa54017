"""Self-prompt tuning, deep, on the digits: VPT-deep whose prompts start from tokens of the training images.

Wang et al., "Revisiting the Power of Prompt for Visual Tuning", ICML 2024, https://arxiv.org/abs/2402.02382, for
networks pre-trained without labels: --net vit_mini_mae or vit_mini_mocov3.

python tools/train.py configs/mini/digits_spt_deep.py --net vit_mini_mae
"""

_base_ = ['./digits_vpt_deep.py']

custom_hooks = [
    dict(type='PromptTuningHook', prompter=dict(type='DeepPrompter', num_tokens=10), tune=['head']),
    dict(type='PromptInitHook', pool='sample'),
]
