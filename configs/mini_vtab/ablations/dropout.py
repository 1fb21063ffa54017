"""Ablation on Mini-VTAB: dropout of the prompts of VPT-deep.

Each at the best of three rates, selected on validation, tested with three seeds:

python tools/sweep.py configs/mini_vtab/ablations/dropout.py --tasks all --out work_dirs/ablations
python tools/report.py work_dirs/ablations
"""

_base_ = ['../vpt_deep.py']

variants = {str(dropout): {'custom_hooks.0.prompter.dropout': dropout} for dropout in (0.0, 0.1, 0.3, 0.5)}
