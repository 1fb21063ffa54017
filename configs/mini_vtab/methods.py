"""Methods since VPT on Mini-VTAB, each at the best of three rates, selected on validation, tested with five seeds.

One command, which goes on where it was stopped; with baselines, and on two pre-trained networks:

python tools/experiment.py configs/mini_vtab/{linear,methods,bias,full}.py --tasks all \
    --nets vit_mini_sup vit_mini_mae --out work_dirs/methods --features work_dirs/features
python tools/report.py work_dirs/methods

Final runs are tested after epochs 3, 4, 5 and 6: the last of them counts, and the report says how much the best of
them would give. The order of the runs is that of networks, configs and variants, so that a part of them is a table of
whole methods.

Cost: 21 methods and three baselines, 10 tasks, 2 networks, 3 rates and 5 seeds are 3,840 runs of 6 epochs.
"""

_base_ = ['./vpt_deep.py', '../_base_/methods.py']

final = dict(curve=3)
