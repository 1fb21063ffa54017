"""Ablation of VPT-deep on the mini VTAB: one set of prompts for all layers, or one for each (figure 12); each value at the best of three rates.

python tools/sweep.py configs/mini_vtab/ablation_sharing.py --tasks mini_objects mini_tissue mini_count
python tools/report.py work_dirs/experiment
"""

_base_ = ['./vpt_deep.py']

method_grid = {'custom_hooks.0.prompter.shared': [False, True]}
