"""Tip-Adapter-F, 1 to 16 images of each class: CLIP's ResNet-50, a memory of the training images whose keys train.

Source: Zhang et al., "Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification", ECCV 2022,
        https://arxiv.org/abs/2111.03930: AdamW at 1e-3 with eps 1e-4, 20 epochs of batch 256, crops of half of an
        image or more. train_keys=False is Tip-Adapter, which trains nothing.
        Different: alpha and beta are chosen on validation images, once, before training. The public code keeps the
        epoch that is best on the test images.
Paper:  ImageNet 61.32, 61.69, 62.52, 64.00, 65.51 % with 1, 2, 4, 8, 16 images of each class; without training 60.70,
        60.96, 60.98, 61.45, 62.03. DTD with 16: 66.55, without training 60.93.
vptx:   not run yet.
Cost:   0 trained parameters before the data are known, then 1,024 for each training image: 770,048 for DTD with 16.
        Time not measured.

    python tools/train.py configs/clip/resnet50_clip_tip_adapter_f.py
    python tools/experiment.py configs/clip/resnet50_clip_tip_adapter_f.py --tasks coop_dtd coop_caltech101
"""

_base_ = [
    '../_base_/clip/resnet50.py',
    '../_base_/tasks/coop.py',
    '../_base_/runtime_clip.py',
]

epochs, rate = 20, 1e-3

train_dataloader = dict(
    batch_size=256,
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(
                type='RandomResizedCrop',
                scale=224,
                crop_ratio_range=(0.5, 1.0),
                interpolation='bicubic',
                backend='pillow',
            ),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackInputs'),
        ]
    ),
)
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=rate, eps=1e-4))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, end=epochs, by_epoch=True, convert_to_iter_based=True)]
grid = {'optim_wrapper.optimizer.lr': [rate]}
final = dict(validation=True)  # alpha and beta are chosen there

custom_hooks = [
    dict(
        type='PromptTuningHook',
        mapping=dict(
            type='TipAdapterHead',
            train_keys=True,
            tower=dict(model='RN50-quickgelu', pretrained='openai'),
        ),
        tune=[],
    )
]
