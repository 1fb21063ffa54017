"""Ablation on Mini-VTAB: separate prompts for each layer of VPT-deep, or the same in all layers (figure 12).

Each at the best of three rates, selected on validation, tested with three seeds:

python tools/sweep.py configs/mini_vtab/ablations/sharing.py --tasks all --out work_dirs/ablations
python tools/report.py work_dirs/ablations
"""

_base_ = ['../vpt_deep.py']

variants = dict(
    own={'custom_hooks.0.prompter.shared': False},
    shared={'custom_hooks.0.prompter.shared': True},
)
