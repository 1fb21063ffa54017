"""Methods since VPT on real images: a ViT-S/14 of DINOv2's make that was tuned for saliency, at 98 px.

One command, which goes on where it was stopped, with baselines:

python tools/experiment.py configs/real/{linear,methods,bias,full}.py --tasks all --jobs 2 \
    --out work_dirs/real/methods --features work_dirs/real/features
python tools/report.py work_dirs/real/methods

The rate is the best on validation images of 0.0009, 0.003 and 0.009, and of more while the best is at an end. Five
seeds are tested after epochs 6 to 10: the last counts, and the report says how much the best of them would give.

Cost: 21 methods and three baselines, 2 tasks, 3 to 6 rates and 5 seeds are 384 to 528 runs of 10 epochs.
"""

_base_ = ['./vpt_deep.py', '../_base_/methods.py']
