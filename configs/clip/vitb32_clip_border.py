"""A border of pixels on CIFAR-100, CLIP's ViT-B/32, classes by "This is a photo of a {}".

Source: Bahng et al., "Exploring Visual Prompts for Adapting Large-Scale Models", 2022, https://arxiv.org/abs/2203.17274;
        all of it as main_clip.py of their code has it, https://github.com/hjbahng/visual_prompting: SGD of rate 40 and
        momentum 0.9, 1,000 steps of warm-up, then cosine to 0, 1,000 epochs of batch 256, prompts of N(0, 1). They
        train on all 50,000 images.
Paper:  75.3 %, quoted from memory, of the epoch that was best on the test split; here the last one counts. Without the
        border 63.1.
vptx:   not run yet.
Cost:   69,840 trained parameters; a prompt file of 0.28 MB. Time not measured.

    python tools/train.py configs/clip/vitb32_clip_border.py
"""

_base_ = ['../_base_/clip/vit_b32.py', '../_base_/tasks/cifar100.py', '../_base_/runtime_clip.py']

custom_hooks = [
    dict(
        type='PromptTuningHook',
        # In normalised space, where their learning rate belongs.
        prompter=dict(type='BorderPrompter', width=30, init='gaussian', space='normalised'),
        mapping=dict(
            type='TextHead',
            tower=dict(model='ViT-B-32-quickgelu', pretrained='openai'),
            template='This is a photo of a {}',
        ),
        tune=[],
    )
]
epochs, steps = 1000, 1000 * -(-45000 // 256)  # the last batch of an epoch is a smaller one

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=50)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=40.0, momentum=0.9, weight_decay=0))
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 1000, by_epoch=False, begin=0, end=1000),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=1000, end=steps),
]
pipeline = [
    dict(type='Resize', scale=224, interpolation='bicubic', backend='pillow'),
    dict(type='PackInputs'),
]
train_dataloader = dict(batch_size=256, dataset=dict(pipeline=pipeline))
val_dataloader = dict(batch_size=256, dataset=dict(pipeline=pipeline))
test_dataloader = dict(batch_size=256, dataset=dict(pipeline=pipeline))
val_evaluator = dict(topk=(1,))
test_evaluator = dict(topk=(1,))
auto_scale_lr = dict(base_batch_size=256)
