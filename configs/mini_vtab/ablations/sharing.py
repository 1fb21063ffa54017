"""Ablation: one set of prompts for all layers of VPT-deep, or one for each (figure 12), mini VTAB.

Each value at the best of three rates, by validation accuracy:

python tools/sweep.py configs/mini_vtab/ablations/sharing.py --tasks mini_objects mini_tissue mini_count
python tools/report.py work_dirs/experiment
"""

_base_ = ['../vpt_deep.py']

method_grid = {'custom_hooks.0.prompter.shared': [False, True]}
