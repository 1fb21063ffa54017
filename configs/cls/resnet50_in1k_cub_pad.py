"""Pad prompts on CUB-200-2011, ResNet-50 supervised on ImageNet-1k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
        The batch size of the paper, 256, is quoted from memory of its appendix, and not checked.
        The grid is that of the public code for ResNets.
Paper:  not on CUB-200-2011. On VTAB-1k 66.25 / 77.32 / 37.52 %, means of the three groups; table 5.
vptx:   not run yet. The learning rate is a guess from their grid, to be chosen on the validation split.
Cost:   423,540 trained parameters, 409,800 of them the head; a prompt file of 1.62 MB. Time not measured.

    python tools/train.py configs/cls/resnet50_in1k_cub_pad.py
"""

_base_ = [
    '../_base_/nets/resnet50_in1k.py',
    '../_base_/prompters/pad.py',
    '../_base_/tasks/cub200.py',
    '../_base_/protocols/vpt_sgd.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=200))
grid = {'base_lr': [5, 2.5, 1, 0.5, 0.25, 0.1, 0.05, 0.025, 0.01]}
optim_wrapper = dict(optimizer=dict(lr=1.0 * 256 / 256))
train_dataloader = dict(batch_size=256)
auto_scale_lr = dict(base_batch_size=256)
