"""ViT-mini pre-trained with supervision on formula-driven images.

After Kataoka et al., "Pre-training without natural images", ACCV 2020, https://arxiv.org/abs/2101.08515

Ours: 40.0 % of 240 categories (top-5 73.6 %) on 2,400 validation images; one seed. A second stage goes on from here:
      vit_mini_sup_stage2.py.

python tools/train.py configs/pretrain/vit_mini_sup.py
"""

_base_ = ['../_base_/tasks/formula.py', '../_base_/protocols/pretrain_mini.py', '../_base_/runtime.py']

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(num_classes=240, mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
    backbone=dict(type='PromptedBackbone', net=dict(type='TimmViT', model='vit_mini_patch8_64', patch_drop_rate=0.5), readout='cls'),
    head=dict(
        type='LinearClsHead',
        num_classes=240,
        in_channels=192,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
val_dataloader = dict(
    batch_size=500,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='FormulaImages',
        num_categories=240,
        instances=10,
        split='val',
        cache_dir='data/formula',
        pipeline=[dict(type='PackInputs')],
    ),
)
val_evaluator = dict(type='Accuracy', topk=(1, 5))
val_cfg = dict()
