"""clip_coop.py for 1, 2, 4, 8 and 16 shots, side by side; fewer shots, fewer epochs, and as many validation images, but
at most 4 of each class."""

_base_ = ['./clip_coop.py']

variants = {
    f'{shots}_shots': {
        'train_dataloader.dataset.subset.shots': shots,
        'val_dataloader.dataset.subset.shots': min(shots, 4),
        'train_cfg.max_epochs': epochs,
        'train_cfg.val_interval': epochs,
        'param_scheduler.1.T_max': epochs,
        'param_scheduler.1.end': epochs,
    }
    for shots, epochs in {1: 50, 2: 100, 4: 100, 8: 200, 16: 200}.items()
}
