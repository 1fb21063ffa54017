"""Ablation: what prompts start from of VPT-deep, mini VTAB.

Each value at the best of three rates, by validation accuracy:

python tools/sweep.py configs/mini_vtab/ablations/init.py --tasks mini_objects mini_tissue mini_count
python tools/report.py work_dirs/experiment
"""

_base_ = ['../vpt_deep.py']

method_grid = {'custom_hooks.0.prompter.init': ['normal', 'uniform']}
