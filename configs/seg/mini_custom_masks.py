"""VPT-deep on your own images and masks, small: SETR-PUP on ViT-mini, crops of 64 px, 200 iterations on a CPU.

To try out a data set in a minute; custom_masks.py has the usual size. docs/segmentation.md has an example.

Cost:   67,330 trained parameters for two classes, 11,520 of them prompts.

    python tools/train.py configs/seg/mini_custom_masks.py
"""

_base_ = [
    '../_base_/segmentors/setr_pup_vit_mini.py',
    '../_base_/prompters/seg_deep.py',
    '../_base_/tasks/mini_ade.py',
    '../_base_/protocols/seg_mini.py',
    '../_base_/runtime_seg.py',
]

classes = ('background', 'object')  # the labels 0 and 1 in the masks; 255 is no class
data = dict(type='CustomMasks', data_root='data/custom_masks', classes=classes)

model = dict(decode_head=dict(num_classes=len(classes)))
train_dataloader = dict(dataset=dict(_delete_=True, **data, split='train', pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(_delete_=True, **data, split='val', pipeline=_base_.test_pipeline))
test_dataloader = dict(dataset=dict(_delete_=True, **data, split='test', pipeline=_base_.test_pipeline))
