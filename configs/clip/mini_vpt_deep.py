"""VPT-deep in CLIP-mini: four prompts in each of the six layers of the image tower.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119; in CLIP as a baseline of
        Khattak et al., "MaPLe", CVPR 2023, https://arxiv.org/abs/2210.03117.
Paper:  none for these data.
vptx:   docs/clip_mini.md, three seeds.
Cost:   4,608 trained parameters.

    python tools/train.py configs/clip/mini_vpt_deep.py
    python tools/experiment.py configs/clip/mini_vpt_deep.py --features work_dirs/features
"""

_base_ = [
    '../_base_/clip/clip_mini.py',
    '../_base_/tasks/mini_relief.py',
    '../_base_/protocols/clip_mini.py',
    '../_base_/runtime_clip.py',
]

custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='DeepPrompter', num_tokens=4, init='normal', embedded=True),
        mapping=dict(
            type='TextHead',
            tower=_base_.tower,
        ),
        tune=[],
    )
]
grid = {'optim_wrapper.optimizer.lr': [1e-3, 3e-3, 1e-2]}
optim_wrapper = dict(optimizer=dict(lr=3e-3))
