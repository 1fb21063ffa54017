"""ViT-mini pre-trained with supervision on formula-driven images.

After Kataoka et al., "Pre-training without natural images", ACCV 2020, https://arxiv.org/abs/2101.08515

vptx: 91.0 % of 240 categories (top-5 98.5 %) on 2,400 validation images; one seed, half an hour
      on 2 cores without a GPU.

Half of the patches are dropped while training, which halves the cost of an image: Li et al., "Scaling Language-Image
Pre-training via Masking", CVPR 2023, https://arxiv.org/abs/2212.00794. This run made weights/vit_mini_sup.npz.

python tools/train.py configs/pretrain/vit_mini_sup.py
python tools/export_backbone.py work_dirs/vit_mini_sup/epoch_5.pth weights/vit_mini_sup
"""

_base_ = ['../_base_/tasks/formula.py', '../_base_/protocols/pretrain_mini.py', '../_base_/runtime.py']

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(num_classes=240, mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
    backbone=dict(
        type='PromptedBackbone',
        net=dict(type='TimmViT', model='vit_mini_patch8_64', patch_drop_rate=0.5),
        readout='cls',
    ),
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
