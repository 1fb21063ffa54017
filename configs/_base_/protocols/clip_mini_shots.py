"""Prompts on CLIP-mini: AdamW, a constant epoch, then cosine; the last epoch counts.

1, 4 and 16 images of each class are compared. Rates are selected on 10 validation images of each class. Each seed of
the final runs draws training images of its own.
"""

steady, epochs = 1, 6

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-2, weight_decay=1e-4))
param_scheduler = [
    dict(type='CosineAnnealingLR', by_epoch=True, begin=steady, end=epochs, convert_to_iter_based=True),
]
final = dict(split='train', seeds=[42, 43, 44], new_subsets=True)
variants = {
    f'{shots}_shots': {
        'train_dataloader.dataset.subset.shots': shots,
        'train_cfg.max_epochs': length,
        'train_cfg.val_interval': length,
        'param_scheduler.0.end': length,
    }
    for shots, length in {1: 30, 4: 15, 16: 6}.items()
}
