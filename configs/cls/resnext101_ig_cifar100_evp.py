"""Enhanced visual prompting (EVP) on CIFAR-100: shrink and pad, steps of constant length, ResNeXt-101 of Instagram.

Source: Wu et al., "Unleashing the Power of Visual Prompting At the Pixel Level", https://arxiv.org/abs/2212.10556;
        all of it as main_non_CLIP.py of their code has it, https://github.com/UCSC-VLAA/EVP: images of 164 px in 224,
        by a bicubic filter, flipped at random, initial pixels of zero, steps of 70, cosine by epoch, 1,000 epochs
        of batch 256. Not so: they normalise by CLIP's mean and deviation, here by the network's own; they read each
        class as the one that its images of full size are most often taken for, in the order of classes, or twice where
        two share it, here one to one, the largest count first, of small images in the frame. They train on all 50,000.
Paper:  not known for this network. With CLIP ViT-B/32 82.8 % on average over 12 data sets.
vptx:   not run yet. Steps are slightly longer than in the public code: vptx/optim/normalized.py explains why.
Cost:   69,840 trained parameters; a prompt file of 0.36 MB. Time not measured.

    python tools/train.py configs/cls/resnext101_ig_cifar100_evp.py
"""

_base_ = ['../_base_/nets/resnext101_ig.py', '../_base_/tasks/cifar100.py', '../_base_/runtime.py']

# The network keeps its own classifier of ImageNet-1k.
model = dict(backbone=dict(net=dict(num_classes=1000), readout='logits'), head=dict(_delete_=True, type='ClsHead'))
custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='ReprogramPrompter', side=224 - 2 * 30, space='unit', bound='none', init='zero'),
        mapping=dict(type='FrequencyMapping', num_classes=100),
        tune=[],
    )
]
epochs = 1000

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=50)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(type='NormalizedGradOptimWrapper', optimizer=dict(type='SGD', lr=70.0))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True, begin=0, end=epochs)]
shrink = dict(type='Resize', scale=164, interpolation='bicubic', backend='pillow')
pipeline = [shrink, dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=256,
    dataset=dict(pipeline=[dict(type='RandomFlip', prob=0.5, direction='horizontal'), *pipeline]),
)
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))
auto_scale_lr = dict(base_batch_size=256)
