"""Ablation of VPT-deep on the mini VTAB: what prompts start from; each value at the best of three rates.

python tools/sweep.py configs/mini_vtab/ablation_init.py --tasks mini_objects mini_tissue mini_count
python tools/report.py work_dirs/experiment
"""

_base_ = ['./vpt_deep.py']

method_grid = {'custom_hooks.0.prompter.init': ['normal', 'uniform']}
