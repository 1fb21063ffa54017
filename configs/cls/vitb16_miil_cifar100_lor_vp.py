"""Low-rank pixels and a new head (LoR-VP) on CIFAR-100, ViT-B/16 of MIIL's ImageNet-21k.

Source: Jin et al., "LoR-VP: Low-Rank Visual Prompting for Efficient Vision Model Adaptation", ICLR 2025,
        https://arxiv.org/abs/2502.00896; all of it as run/run_lorvp.sh of their code has it, which as released trains
        the head and no prompt, https://github.com/jincan333/LoR-VP: rank 4, a factor of zero and one of N(0, 0.01^2),
        SGD of rate 0.02, momentum 0.9 and decay 1e-4 on prompt and head, cosine to 0 by step, 20 epochs of batch 256,
        images of 224 px without augmentation. They train in half precision, and on all 50,000 images.
Paper:  none that names this network.
vptx:   not run yet.
Cost:   82,276 trained parameters, 76,900 of them the head; a prompt file of 0.33 MB. Time not measured.

    python tools/train.py configs/cls/vitb16_miil_cifar100_lor_vp.py
"""

_base_ = ['../_base_/nets/vit_b16_miil_in21k.py', '../_base_/tasks/cifar100.py', '../_base_/runtime.py']

model = dict(head=dict(num_classes=100, init_cfg=None))  # as PyTorch begins a linear layer
custom_hooks = [dict(type='PromptTuningHook', prompter=dict(type='LowRankPrompter', rank=4), tune=['head'])]
epochs = 20

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=5)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=epochs, convert_to_iter_based=True)]
train_dataloader = dict(batch_size=256)
auto_scale_lr = dict(base_batch_size=256)
