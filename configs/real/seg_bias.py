"""Biases and heads: SETR-PUP on scenes of cut-outs, a ViT-S/14 of DINOv2's make that was tuned for saliency, at 112 px.

vptx: mIoU 21.7 (20.1 to 22.5, three seeds) at lr 0.01; docs/real.md has the table.

python tools/experiment.py configs/real/seg_*.py --out work_dirs/real/seg
"""

_base_ = [
    '../_base_/segmentors/setr_pup_vit_s14_saliency.py',
    '../_base_/prompters/seg_bias.py',
    '../_base_/tasks/scenes.py',
    '../_base_/protocols/seg_mini.py',
    '../_base_/runtime_seg.py',
]

# Biases need larger steps than whole matrices.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.3))))
