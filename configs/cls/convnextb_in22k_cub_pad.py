"""Pad prompts on CUB-200-2011, ConvNeXt-B supervised on ImageNet-22k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
        The batch size of the paper, 128, is quoted from memory of its appendix, and not checked.
Paper:  not on CUB-200-2011. On VTAB-1k 78.48 / 83.00 / 44.64 %, means of the three groups; table 5.
vptx:   not run yet. The learning rate is a guess from their grid, to be chosen on the validation split.
Cost:   218,740 trained parameters, 205,000 of them the head; a prompt file of 0.83 MB. Time not measured.

    python tools/train.py configs/cls/convnextb_in22k_cub_pad.py
"""

_base_ = [
    '../_base_/nets/convnext_b_in22k.py',
    '../_base_/prompters/pad.py',
    '../_base_/tasks/cub200.py',
    '../_base_/protocols/vpt_sgd.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=200))
optim_wrapper = dict(optimizer=dict(lr=1.0 * 128 / 256))
