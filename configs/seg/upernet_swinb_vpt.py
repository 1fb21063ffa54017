"""VPT-deep: UperNet on ADE20K, Swin-B, ImageNet-22k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
Paper:  none: the paper has Swin-B for classification only.
vptx:   not run yet.
Cost:   34,658,860 trained parameters.

    python tools/train.py configs/seg/upernet_swinb_vpt.py
"""

_base_ = [
    '../_base_/segmentors/upernet_swinb.py',
    '../_base_/prompters/seg_deep.py',
    '../_base_/tasks/ade20k.py',
    '../_base_/protocols/setr_160k.py',
    '../_base_/runtime_seg.py',
]

custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='DeepPrompter', num_tokens=10, dropout=0.1),
        tune=['decode_head', 'auxiliary_head', 'map_norms'],
    )
]
