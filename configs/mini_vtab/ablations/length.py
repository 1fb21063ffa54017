"""Ablation on Mini-VTAB: how many prompts VPT-deep has in each layer (figure 6).

Each at the best of three rates, selected on validation, tested with three seeds:

python tools/sweep.py configs/mini_vtab/ablations/length.py --tasks all --out work_dirs/ablations
python tools/report.py work_dirs/ablations
"""

_base_ = ['../vpt_deep.py']

variants = {str(length): {'custom_hooks.0.prompter.num_tokens': length} for length in (1, 5, 10, 20, 50)}
