"""VPT-deep on your own images, ViT-B/16 supervised on ImageNet-21k: docs/data.md

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
Paper:  none.
vptx:   none: your own images. The learning rate is a guess from the paper's grid; tools/experiment.py selects it.
Cost:   94,467 trained parameters, 2,307 of them the head of three classes; a prompt file of 0.36 MB.

    python tools/train.py configs/cls/custom_folder.py
    python tools/experiment.py configs/cls/custom_folder.py
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/deep.py',
    '../_base_/tasks/custom_folder.py',
    '../_base_/protocols/vpt_sgd.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=3))  # as many as train has
optim_wrapper = dict(optimizer=dict(lr=5.0 * 64 / 256))
auto_scale_lr = dict(base_batch_size=64)
# A short grid; the paper's own has 240 points.
grid = {'base_lr': [10, 5, 1, 0.25], 'optim_wrapper.optimizer.weight_decay': [0.001]}
method_grid = dict(_delete_=True, num_tokens=[{'custom_hooks.0.prompter.num_tokens': tokens} for tokens in (5, 50)])
