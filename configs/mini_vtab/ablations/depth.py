"""Ablation on Mini-VTAB: which of the six layers of VPT-deep have prompts, from below and from above (figure 7).

Each at the best of three rates, selected on validation, tested with three seeds:

python tools/sweep.py configs/mini_vtab/ablations/depth.py --tasks all --out work_dirs/ablations
python tools/report.py work_dirs/ablations
"""

_base_ = ['../vpt_deep.py']

first_to_last = [(0, last) for last in range(6)] + [(first, 5) for first in range(1, 6)]
variants = {
    f'{first + 1}-{last + 1}': {'custom_hooks.0.prompter.layers': list(range(first, last + 1))}
    for first, last in first_to_last
}
