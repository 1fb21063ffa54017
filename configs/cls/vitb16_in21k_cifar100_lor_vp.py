"""Low-rank pixels and a new head (LoR-VP) on CIFAR-100, ViT-B/16 supervised on ImageNet-21k.

Source: Jin et al., "LoR-VP: Low-Rank Visual Prompting for Efficient Vision Model Adaptation", ICLR 2025,
        https://arxiv.org/abs/2502.00896. The recipe is that of their code, which as released trains the head and no
        prompt.
Theirs: none that names this network.
Ours:   not run yet.
Cost:   82,276 trained numbers, 76,900 of them the head; a prompt file of 0.33 MB. Time not measured.

    python tools/train.py configs/cls/vitb16_in21k_cifar100_lor_vp.py
"""

_base_ = ['../_base_/nets/vit_b16_in21k.py', '../_base_/tasks/cifar100.py', '../_base_/runtime.py']

model = dict(head=dict(num_classes=100))
custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='LowRankPrompter', rank=4), tune=['head'])]
epochs = 20

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=5)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True, begin=0, end=epochs)]
train_dataloader = dict(batch_size=256)
auto_scale_lr = dict(base_batch_size=256)
