"""AdaptFormer on VTAB-1k, ViT-B/16 supervised on ImageNet-21k.

Source: Chen et al., "AdaptFormer", NeurIPS 2022, https://arxiv.org/abs/2205.13535
Paper:  none by this protocol.
vptx:   not run yet. The learning rate below is one of the grid; tools/experiment.py selects it.
Cost:   1,266,532 trained parameters, 76,900 of them the head; a prompt file of 4.83 MB. Time not measured.

    python tools/train.py configs/vtab/vitb16_in21k_adaptformer.py
    python tools/experiment.py configs/vtab/vitb16_in21k_adaptformer.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/adaptformer.py',
    '../_base_/tasks/vtab.py',
    '../_base_/protocols/vpt_adamw.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
optim_wrapper = dict(optimizer=dict(lr=0.001 * 128 / 256))
