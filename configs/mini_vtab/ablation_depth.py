"""Ablation of VPT-deep on the mini VTAB: which layers have prompts, from below and from above (figure 7); each value at the best of three rates.

python tools/sweep.py configs/mini_vtab/ablation_depth.py --tasks mini_objects mini_tissue mini_count
python tools/report.py work_dirs/experiment
"""

_base_ = ['./vpt_deep.py']

method_grid = {
    'custom_hooks.0.prompter.layers': [[0], [0, 1, 2], [0, 1, 2, 3, 4, 5], [3, 4, 5], [5]],
}
