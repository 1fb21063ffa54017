"""Pad prompts on VTAB-1k, ConvNeXt-B supervised on ImageNet-22k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
        The batch size of the paper, 128, is quoted from memory of its appendix, and not checked.
Paper:  78.48 / 83.00 / 44.64 %; means of the three groups, table 5.
vptx:   not run yet. The learning rate below is one of the grid; tools/experiment.py selects it.
Cost:   116,240 trained parameters, 102,500 of them the head; a prompt file of 0.44 MB. Time not measured.

    python tools/train.py configs/vtab/convnextb_in22k_pad.py
    python tools/experiment.py configs/vtab/convnextb_in22k_pad.py --tasks all
"""

_base_ = [
    '../_base_/nets/convnext_b_in22k.py',
    '../_base_/prompters/pad.py',
    '../_base_/tasks/vtab.py',
    '../_base_/protocols/vpt_sgd.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
optim_wrapper = dict(optimizer=dict(lr=1.0 * 128 / 256))
