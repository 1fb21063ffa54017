"""CLIP-mini pre-trained on captions of scenes that are drawn by formula.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
https://arxiv.org/abs/2103.00020: a contrastive loss matches images and captions of a batch.

A quarter of the patches is dropped while training: Li et al., "Scaling Language-Image Pre-training via Masking", CVPR
2023, https://arxiv.org/abs/2212.00794. No training scene shows a pair of shape and colour, or of shape and texture,
that is held out. Validation shows such pairs only.

vptx: on 1,000 validation scenes with held-out pairs, 31 % of shapes, 99 % of colours, 89 % of textures, 56 % of counts,
31 % of the 50 pairs of texture and shape, without training on any of them; one seed, 128,000 images with captions, one
run without a break, 18 minutes of processor time of one core. Results: docs/clip_mini.md. This run made
weights/clip_mini.safetensors.

python tools/train.py configs/pretrain/clip_mini.py
python tools/export_backbone.py work_dirs/clip_mini/iter_1000.pth weights/clip_mini
"""

_base_ = ['../_base_/runtime.py']
custom_imports = dict(imports=['vptx', 'vptx.datasets', 'vptx.pretraining'], allow_failed_imports=False)

steps, warm_up, cool_down, batch = 1_000, 50, 250, 128

model = dict(
    type='ContrastivePretraining',
    data_preprocessor=dict(type='ImgDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True),
    embed_dim=160,
    vision_cfg=dict(image_size=64, patch_size=8, width=192, layers=6, head_width=64, patch_dropout=0.25),
    text_cfg=dict(context_length=32, vocab_size=2 * 256 + 1_130 + 2, width=128, layers=4, heads=2),
    # The image tower starts as the supervised ViT-mini, whose images have no names and random colours.
    visual=dict(model='vit_mini_patch8_64', weights='{{ fileDirname }}/../../weights/vit_mini_sup.npz'),
    vocabulary='{{ fileDirname }}/../../weights/clip_mini_vocabulary.txt.gz',
)
train_dataloader = dict(
    batch_size=batch,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=False),  # scenes in order, none twice
    dataset=dict(
        type='CaptionedScenes',
        length=steps * batch,
        alike=16,  # in a batch of random scenes colours alone tell most captions apart
        split='train',
        pairs='seen',
        pipeline=[dict(type='WriteCaption'), dict(type='PackInputs', meta_keys=('caption',))],
    ),
)
val_dataloader = dict(
    batch_size=500,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CaptionedScenes',
        length=1_000,
        split='val',
        pairs='unseen',
        pipeline=[dict(type='PackInputs', meta_keys=('scene',))],
    ),
)
test_dataloader = dict(
    batch_size=500,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CaptionedScenes',
        length=2_000,
        split='test',
        pairs='unseen',
        pipeline=[dict(type='PackInputs', meta_keys=('scene',))],
    ),
)
val_evaluator = test_evaluator = dict(type='ZeroShotAccuracy')

# Muon, as for the other mini backbones: configs/_base_/protocols/pretrain_mini.py.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=steps, val_interval=200)
val_cfg = test_cfg = dict()
optim_wrapper = dict(
    type='BFloat16OptimWrapper',
    optimizer=dict(type='timm.optim.Muon', lr=2e-3, weight_decay=0.05, betas=(0.9, 0.98)),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys={'logit_scale': dict(decay_mult=0.0), 'visual.transformer': dict(lr_mult=0.5)},
    ),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=warm_up),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.01, by_epoch=False, begin=steps - cool_down, end=steps),
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=100, max_keep_ckpts=2))
log_processor = dict(by_epoch=False)
