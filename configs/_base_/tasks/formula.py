"""96,000 formula-driven images: 400 of each of 240 categories; 2,400 others for validation.

The first run renders them into data/formula (1.2 GB, a minute).
"""

categories, instances, batch = 240, 400, 128

# No flips and no rotations: glyphs and gratings differ by direction.
train_dataloader = dict(
    batch_size=batch,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    drop_last=True,
    dataset=dict(
        type='FormulaImages',
        num_categories=categories,
        instances=instances,
        split='train',
        cache_dir='data/formula',
        pipeline=[dict(type='RandomResizedCrop', scale=64, crop_ratio_range=(0.5, 1.0)), dict(type='PackInputs')],
    ),
)
