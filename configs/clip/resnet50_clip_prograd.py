"""ProGrad, 1 to 16 images of each class: CLIP's ResNet-50, 16 learnt words, no step against zero-shot CLIP.

Source: Zhu et al., "Prompt-aligned Gradient for Prompt Tuning", ICCV 2023, https://arxiv.org/abs/2205.14865: the last
        of the 16 words start as those of a template, the others as zeros. Different: the words are "a photo of a" for
        all data sets, in the public code those of each; a strength of 1 for all, in the paper 0.8 for 8 and 16 images
        of Flowers, DTD and EuroSAT. Single precision, no image is left out of an epoch, images are drawn by another
        generator.
Paper:  not known to us by data set.
vptx:   not run yet.
Cost:   8,192 trained parameters; a prompt file of 0.03 MB. Time not measured.

    python tools/train.py configs/clip/resnet50_clip_prograd.py
    python tools/experiment.py configs/clip/resnet50_clip_prograd.py --tasks coop_dtd coop_caltech101
"""

_base_ = [
    '../_base_/clip/resnet50.py',
    '../_base_/tasks/coop.py',
    '../_base_/protocols/clip_coop_shots.py',
    '../_base_/runtime_clip.py',
]

custom_hooks = [
    dict(
        type='PromptTuningHook',
        mapping=dict(
            type='TextHead',
            tower=dict(model='RN50-quickgelu', pretrained='openai'),
            prompter=dict(type='ContextPrompter', num_tokens=16, words='a photo of a', zeros_ahead=True),
            pulls=[dict(type='LogitPull')],  # what guides
        ),
        tune=[],
    )
]
default_hooks = dict(class_names=dict(type='ClassNamesHook', templates=True))
optim_wrapper = dict(type='ProGradOptimWrapper', strength=1.0)
