"""Independent prompts of image and text (IVLP), base to new: CLIP's ViT-B/16, 2 in each layer of both towers.

Source: Khattak et al., "MaPLe", CVPR 2023, https://arxiv.org/abs/2210.03117, and the configs of its repository.
        Different: single precision, no image is left out of an epoch, images are drawn by another generator.
Paper:  base 82.15, new 74.07, H 77.90 %, means of 11 data sets.
vptx:   not run yet.
Cost:   30,720 trained parameters; a prompt file of 0.12 MB. Time not measured.

    python tools/train.py configs/clip/vitb16_clip_ivlp.py
    python tools/experiment.py configs/clip/vitb16_clip_ivlp.py --tasks coop_dtd coop_eurosat
"""

_base_ = [
    '../_base_/clip/vit_b16.py',
    '../_base_/tasks/coop_base_to_new.py',
    '../_base_/protocols/clip_maple.py',
    '../_base_/runtime_clip.py',
]

custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='DeepPrompter', num_tokens=2, init='normal', carry=True, embedded=True),
        mapping=dict(
            type='TextHead',
            tower=dict(model='ViT-B-16-quickgelu', pretrained='openai'),
            prompter=dict(type='ContextPrompter', num_tokens=2, words='a photo of a', depth=12),
        ),
        tune=[],
    )
]
train_dataloader = dict(batch_size=4)
