"""Tip-Adapter-F: a memory of the training images whose keys train.

Source: Zhang et al., "Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification", ECCV 2022,
        https://arxiv.org/abs/2111.03930. Different: alpha and beta are chosen on validation images, once, before
        training. Its classes are those of the memory, so there are no new ones.
Paper:  none for these data.
vptx:   docs/clip_mini.md, three seeds.
Cost:   160 trained parameters for each training image.

    python tools/train.py configs/clip/mini_tip_adapter_f.py
    python tools/experiment.py configs/clip/mini_tip_adapter_f.py --features work_dirs/features
"""

_base_ = [
    '../_base_/clip/clip_mini.py',
    '../_base_/tasks/mini_relief.py',
    '../_base_/protocols/clip_mini_shots.py',
    '../_base_/runtime_clip.py',
]

custom_hooks = [
    dict(
        type='PromptTuningHook',
        mapping=dict(
            type='TipAdapterHead',
            tower=_base_.tower,
            train_keys=True,
            epochs=1,  # no image is augmented
        ),
        tune=[],
    )
]
final = dict(validation=True)  # alpha and beta are chosen there
grid = {'optim_wrapper.optimizer.lr': [3e-4, 1e-3, 3e-3]}
optim_wrapper = dict(optimizer=dict(lr=1e-3))
