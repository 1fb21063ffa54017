"""Ablation on Mini-VTAB: the percentage of the training images, for VPT-deep.

Each at the best of three rates, selected on validation, tested with three seeds:

python tools/sweep.py configs/mini_vtab/ablations/percent.py --tasks all --out work_dirs/ablations
python tools/report.py work_dirs/ablations
"""

_base_ = ['../vpt_deep.py']

variants = {
    str(percent): {'train_dataloader.dataset.subset': dict(percent=percent, seed=0)} for percent in (10, 20, 50, 100)
}
