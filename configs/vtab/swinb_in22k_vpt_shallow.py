"""VPT-shallow on VTAB-1k, Swin-B supervised on ImageNet-22k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
        The readout is that of the paper, the average of prompts and patches.
        The batch size of the paper, 80, is quoted from memory of its appendix, and not checked.
Paper:  79.85 / 82.45 / 37.75 %; means of the three groups, table 2.
vptx:   not run yet. The learning rate below is one of the grid; tools/experiment.py selects it.
Cost:   103,780 trained parameters, 102,500 of them the head; a prompt file of 0.40 MB. Time not measured.

    python tools/train.py configs/vtab/swinb_in22k_vpt_shallow.py
    python tools/experiment.py configs/vtab/swinb_in22k_vpt_shallow.py --tasks all
"""

_base_ = [
    '../_base_/nets/swin_b_in22k.py',
    '../_base_/prompters/shallow_swin.py',
    '../_base_/tasks/vtab.py',
    '../_base_/protocols/vpt_sgd.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
optim_wrapper = dict(optimizer=dict(lr=5.0 * 80 / 256))
train_dataloader = dict(batch_size=80)
auto_scale_lr = dict(base_batch_size=80)
