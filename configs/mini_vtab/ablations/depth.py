"""Ablation: which layers of VPT-deep have prompts, from below and from above (figure 7), mini VTAB.

Each value at the best of three rates, by validation accuracy:

python tools/sweep.py configs/mini_vtab/ablations/depth.py --tasks mini_objects mini_tissue mini_count
python tools/report.py work_dirs/experiment
"""

_base_ = ['../vpt_deep.py']

method_grid = {
    'custom_hooks.0.prompter.layers': [[0], [0, 1, 2], [0, 1, 2, 3, 4, 5], [3, 4, 5], [5]],
}
