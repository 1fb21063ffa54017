"""Pre-training of the mini backbones: 3 epochs of 96,000 images, 288,000 images seen, whatever the objective."""

epochs = 3
steps = epochs * (240 * 400 // 128)

train_cfg = dict(by_epoch=True, max_epochs=epochs)
optim_wrapper = dict(
    type='BFloat16OptimWrapper',
    optimizer=dict(type='AdamW', lr=1.5e-3, weight_decay=0.05, betas=(0.9, 0.98)),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=300),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=300, end=steps, eta_min=1e-5),
]
