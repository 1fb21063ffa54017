"""VPT-deep on CUB-200-2011, Swin-B supervised on ImageNet-22k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
        The readout is that of the paper, the average of prompts and patches.
        The batch size of the paper, 80, is quoted from memory of its appendix, and not checked.
Paper:  not on CUB-200-2011. On VTAB-1k 76.78 / 84.53 / 53.35 %, means of the three groups; table 2.
vptx:   not run yet. The learning rate is a guess from their grid, to be chosen on the validation split.
Cost:   325,320 trained parameters, 205,000 of them the head; a prompt file of 1.24 MB. Time not measured.

    python tools/train.py configs/cls/swinb_in22k_cub_vpt_deep.py
"""

_base_ = [
    '../_base_/nets/swin_b_in22k.py',
    '../_base_/prompters/deep_swin.py',
    '../_base_/tasks/cub200.py',
    '../_base_/protocols/vpt_sgd.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=200))
optim_wrapper = dict(optimizer=dict(lr=5.0 * 80 / 256))
train_dataloader = dict(batch_size=80)
auto_scale_lr = dict(base_batch_size=80)
