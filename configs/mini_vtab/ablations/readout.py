"""Ablation on Mini-VTAB: the readout of VPT-deep (figure 8).

Each at the best of three rates, selected on validation, tested with three seeds:

python tools/sweep.py configs/mini_vtab/ablations/readout.py --tasks all --out work_dirs/ablations
python tools/report.py work_dirs/ablations
"""

_base_ = ['../vpt_deep.py']

variants = {readout: {'custom_hooks.0.readout': readout} for readout in ('cls', 'mean', 'prompts', 'prompts+patches')}
