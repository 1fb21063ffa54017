"""Ablation on the mini VTAB: how much of the images VPT-deep is trained on.

Each at the best of three rates, which validation chooses, tested with three seeds:

python tools/sweep.py configs/mini_vtab/ablations/percent.py --tasks all --out work_dirs/ablations
python tools/report.py work_dirs/ablations
"""

_base_ = ['../vpt_deep.py']

variants = {
    str(percent): {'train_dataloader.dataset.subset': dict(percent=percent, seed=0)} for percent in (10, 20, 50, 100)
}
