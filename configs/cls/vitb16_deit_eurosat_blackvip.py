"""BlackVIP on EuroSAT, 16 images of each class, ViT-B/16 of ImageNet-1k: learnt from forward calls alone.

Source: Oh et al., "BlackVIP: Black-Box Visual Prompting for Robust Transfer Learning", CVPR 2023,
        https://arxiv.org/abs/2303.14773; all of it as their code has it, https://github.com/changdaeoh/BlackVIP:
        docs/configuration.md for EuroSAT (5,000 epochs, momentum 0.9, gamma 0.2, c 0.005, strength 0.4), vit_b16.yaml
        of their trainer (batch 128, crops and flips, a 0.01, alpha 0.4, o 1, 5 perturbations) and trainers/blackvip.py
        (its steps count from 1, hence o + 1 here). An epoch is one batch of the 160 images. Different: the paper uses
        CLIP's ViT-B/16, which classifies by texts; here it is trained on ImageNet-1k, and frequencies are counted
        before training. Their 16 images are drawn from CoOp's split of EuroSAT, these from VTAB's.
Paper:  not with this network. With CLIP's 73.3 %, quoted in table 1 of DVP, https://arxiv.org/abs/2506.01000.
vptx:   not run yet.
Cost:   9,920 trained parameters; a prompt file of 0.05 MB. 11 forward calls a step; time not measured.

    python tools/train.py configs/cls/vitb16_deit_eurosat_blackvip.py
"""

_base_ = ['../_base_/nets/vit_b16_deit.py', '../_base_/tasks/vtab.py', '../_base_/runtime.py']

# The network keeps its own classifier of ImageNet-1k.
model = dict(backbone=dict(net=dict(num_classes=1000), readout='logits'), head=dict(_delete_=True, type='ClsHead'))
mae = dict(type='TimmViT', model='vit_base_patch16_224.mae', weights='timm://vit_base_patch16_224.mae')
custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='CoordinatorPrompter', encoder=mae, channels=32, strength=0.4, norm='batch'),
        mapping=dict(type='FrequencyMapping', num_classes=10),
        tune=[],
    )
]
epochs = 5000

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=500)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='SPSAOptimWrapper',
    c=0.005,
    gamma=0.2,
    samples=5,
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, nesterov=True),
)
param_scheduler = [dict(type='InversePowerLR', by_epoch=True, begin=0, end=epochs, power=0.4, offset=1 + 1)]
load = dict(type='LoadImageFromFile')
pipeline = [load, dict(type='Resize', scale=224, interpolation='bicubic', backend='pillow'), dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=128,
    drop_last=True,
    dataset=dict(
        task='eurosat',
        subset=dict(shots=16, seed=1),
        pipeline=[
            load,
            dict(type='RandomResizedCrop', scale=224, interpolation='bicubic', backend='pillow'),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='PackInputs'),
        ],
    ),
)
val_dataloader = dict(dataset=dict(task='eurosat', pipeline=pipeline))
test_dataloader = dict(dataset=dict(task='eurosat', pipeline=pipeline))
final = None  # nothing is left to choose
auto_scale_lr = dict(base_batch_size=128)
