"""Border prompts on CIFAR-100, ResNet-50 with its own classifier, the first 100 of whose classes are read as new ones.

Source: Bahng et al., "Exploring Visual Prompts for Adapting Large-Scale Models", 2022, https://arxiv.org/abs/2203.17274;
        all of it as main_vision.py of their code has it, https://github.com/hjbahng/visual_prompting: SGD of rate 40
        and momentum 0.9, 1,000 steps of warm-up, then cosine to 0, 1,000 epochs of batch 128, prompts of N(0, 1),
        images enlarged to 256 px and cut to 224, the first 100 classes. They train on all 50,000 images.
Paper:  not known for this network. With CLIP ViT-B/32, quoted from memory, 75.3 % on CIFAR-100. Their table is of the
        epoch that was best on the test split; here the last one counts.
vptx:   not run yet.
Cost:   69,840 trained parameters; a prompt file of 0.28 MB. Time not measured.

    python tools/train.py configs/cls/resnet50_in1k_cifar100_vp.py
"""

_base_ = ['../_base_/nets/resnet50_in1k.py', '../_base_/tasks/cifar100.py', '../_base_/runtime.py']

# The network keeps its own classifier of ImageNet-1k.
model = dict(backbone=dict(net=dict(num_classes=1000), readout='logits'), head=dict(_delete_=True, type='ClsHead'))
custom_hooks = [
    dict(
        type='PromptTuningHook',
        # In normalised space, where their learning rate belongs: 40 * 0.226**2 = 2.0 in the space of pixels in [0, 1].
        prompter=dict(type='BorderPrompter', width=30, init='gaussian', space='normalised'),
        mapping=dict(type='IndexMapping', num_classes=100),
        tune=[],
    )
]
epochs, steps = 1000, 1000 * -(-45000 // 128)  # the last batch of an epoch is a smaller one

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=50)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=40.0, momentum=0.9, weight_decay=0))
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 1000, by_epoch=False, begin=0, end=1000),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=1000, end=steps),
]
pipeline = [
    dict(type='Resize', scale=256, interpolation='bilinear', backend='pillow'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))
auto_scale_lr = dict(base_batch_size=128)
