"""ViT-mini, pre-trained with supervision on 96,000 formula-driven images of 240 categories.

After Kataoka et al., "Pre-training without natural images", ACCV 2020, https://arxiv.org/abs/2101.08515

    python tools/train.py configs/pretrain/vit_mini_sup.py

5 epochs, 480,000 images seen; the first run renders the images into data/formula (1.2 GB, minutes).
"""

_base_ = ['../_base_/runtime.py']

categories, instances, epochs, batch = 240, 400, 5, 128

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(num_classes=categories, mean=[127.5] * 3, std=[127.5] * 3, to_rgb=False),
    backbone=dict(type='PromptedBackbone', net=dict(type='TimmViT', model='vit_mini_patch8_64'), readout='cls'),
    head=dict(
        type='LinearClsHead',
        num_classes=categories,
        in_channels=192,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
dataset = dict(type='FormulaImages', num_categories=categories, cache_dir='data/formula')
train_dataloader = dict(
    batch_size=batch,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        **dataset,
        split='train',
        instances=instances,
        # No flip and no turn: glyphs and gratings differ by direction.
        pipeline=[dict(type='RandomResizedCrop', scale=64, crop_ratio_range=(0.5, 1.0)), dict(type='PackInputs')],
    ),
)
val_dataloader = dict(
    batch_size=500,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, split='val', instances=10, pipeline=[dict(type='PackInputs')]),
)
val_evaluator = dict(type='Accuracy', topk=(1, 5))
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=1)
val_cfg = dict()

optim_wrapper = dict(
    type='BFloat16OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05, betas=(0.9, 0.98)),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=1.0),
)
steps = epochs * categories * instances // batch
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=300),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=300, end=steps, eta_min=1e-5),
]
