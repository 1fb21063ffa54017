"""BPT-bilinear, deep, on VTAB-1k, ViT-B/16 supervised on ImageNet-21k.

Source: Wang et al., "Attention to the Burstiness in Visual Prompt Tuning!", ICCV 2025, https://arxiv.org/abs/2506.22908
Paper:  75.0 %, mean of the three groups.
Choice: the best epoch of the split that is evaluated in each epoch, averaged weights, one seed; AdamW, 0.005 and weight
        decay 0.1, that of the head 0.5. The deep scripts of the public code do not run: 50 is no square.
vptx:   not run yet.
Cost:   567,700 trained parameters, 76,900 of them the head; a prompt file of 2.27 MB. Time not measured.

    python tools/train.py configs/vtab/vitb16_in21k_bilinear.py
    python tools/experiment.py configs/vtab/vitb16_in21k_bilinear.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/bilinear.py',
    '../_base_/tasks/vtab.py',
    '../_base_/protocols/vpt_adamw.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
optim_wrapper = dict(optimizer=dict(lr=0.005 * 128 / 256))
