"""A learnt frame around small images and iterative label mapping (ILM-VP) on CIFAR-100, ResNet-18.

Source: Chen et al., "Understanding and Improving Visual Prompting: A Label-Mapping Perspective", CVPR 2023,
        https://arxiv.org/abs/2211.11635; all of it as experiments/cnn/ilm_vp.py of their code has it,
        https://github.com/OPTML-Group/ILM-VP: images at their own 32 px in 224, sigmoid(0) around them initially,
        Adam of rate 0.01, a tenth of it after 50 and 72 % of 200 epochs of batch 128, mapped again in each, without
        augmentation. They train in half precision, and on all 50,000 images.
Paper:  24.8 % (three seeds, +- 0.1), in table 1 of SMM, https://arxiv.org/abs/2406.03150; 18.1 % with a mapping
        that is estimated once, from memory. Both of the epoch that was best on the test split; here the last counts.
vptx:   not run yet.
Cost:   147,456 trained parameters; a prompt file of 0.59 MB. Time not measured.

    python tools/train.py configs/cls/resnet18_in1k_cifar100_ilm.py
"""

_base_ = ['../_base_/nets/resnet18_in1k.py', '../_base_/tasks/cifar100.py', '../_base_/runtime.py']

# The network keeps its own classifier of ImageNet-1k.
model = dict(backbone=dict(net=dict(num_classes=1000), readout='logits'), head=dict(_delete_=True, type='ClsHead'))
custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='ReprogramPrompter', side=32, space='unit', bound='sigmoid', init='zero'),
        # online=True counts while it trains, and spares the pass over the training images in each epoch.
        mapping=dict(type='IterativeMapping', num_classes=100, online=False),
        tune=[],
    )
]
epochs = 200

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=10)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=0.01))
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[epochs // 2, epochs * 72 // 100], gamma=0.1)]
pipeline = [dict(type='PackInputs')]  # the prompter places them
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))
auto_scale_lr = dict(base_batch_size=128)
