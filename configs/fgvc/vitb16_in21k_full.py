"""Full fine-tuning on FGVC, ViT-B/16 supervised on ImageNet-21k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
Paper:  88.54 %, the mean of the five data sets.
vptx:   not run yet. The learning rate below is one of the grid; tools/experiment.py selects it.
Cost:   85,952,456 trained parameters, 153,800 of them the head; a prompt file of 327.88 MB. Time not measured.

    python tools/train.py configs/fgvc/vitb16_in21k_full.py
    python tools/experiment.py configs/fgvc/vitb16_in21k_full.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/full.py',
    '../_base_/tasks/fgvc.py',
    '../_base_/protocols/vpt_adamw.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=200))
optim_wrapper = dict(optimizer=dict(lr=0.0005 * 128 / 256))
