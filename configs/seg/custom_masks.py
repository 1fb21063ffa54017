"""VPT-deep on your own images and masks: SETR-PUP on ViT-B/16, ImageNet-21k, one head: docs/segmentation.md

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
Paper:  none.
vptx:   none: the images are your own. The learning rate is that of ADE20K; tools/experiment.py selects it.
Cost:   3,635,202 trained parameters for two classes, 92,160 of them prompts.

    python tools/train.py configs/seg/custom_masks.py
    python tools/test.py configs/seg/custom_masks.py work_dirs/custom_masks/prompt.safetensors
    python tools/predict.py configs/seg/custom_masks.py work_dirs/custom_masks/prompt.safetensors photographs
"""

_base_ = [
    '../_base_/segmentors/setr_pup_vitb.py',
    '../_base_/prompters/seg_deep.py',
    '../_base_/tasks/custom_masks.py',
    '../_base_/protocols/setr_20k.py',
    '../_base_/runtime_seg.py',
]

classes = ('background', 'object')  # the labels 0 and 1 in the masks; 255 is no class

model = dict(
    backbone=dict(readout=dict(maps=[11])), decode_head=dict(in_index=0, num_classes=len(classes)), auxiliary_head=None
)
train_dataloader = dict(dataset=dict(classes=classes))
val_dataloader = dict(dataset=dict(classes=classes))
test_dataloader = dict(dataset=dict(classes=classes))
