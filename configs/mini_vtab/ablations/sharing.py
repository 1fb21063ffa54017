"""Ablation on the mini VTAB: prompts of each layer of VPT-deep its own, or the same in all (figure 12).

Each at the best of three rates, which validation chooses, tested with three seeds:

python tools/sweep.py configs/mini_vtab/ablations/sharing.py --tasks all --out work_dirs/ablations
python tools/report.py work_dirs/ablations
"""

_base_ = ['../vpt_deep.py']

variants = dict(
    own={'custom_hooks.0.prompter.shared': False},
    shared={'custom_hooks.0.prompter.shared': True},
)
