"""Pre-training of the mini backbones: 5 epochs of 96,000 images, 480,000 images seen, whatever the objective.

Muon, because it needs fewer images: after 38,000 of them, supervised, it had 22 % accuracy on the 240 categories,
and AdamW 2 %. Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/; with the learning rate of AdamW as
in Liu et al., "Muon is Scalable for LLM Training", 2025, https://arxiv.org/abs/2502.16982.
"""

epochs = 5
steps = epochs * (240 * 400 // 128)

train_cfg = dict(by_epoch=True, max_epochs=epochs)
optim_wrapper = dict(
    type='BFloat16OptimWrapper',
    optimizer=dict(type='timm.optim.Muon', lr=2e-3, weight_decay=0.05, betas=(0.9, 0.98)),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=300),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=300, end=steps, eta_min=1e-5),
]
