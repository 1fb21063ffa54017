"""Channel prompts on CUB-200-2011, ResNet-50 supervised on ImageNet-1k. The first norm trains with the stem.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
        The batch size of the paper, 256, is quoted from memory of its appendix, and not checked.
        The grid is that of the public code for ResNets.
Paper:  none in numbers; the public code has it, and its authors found padding better on this task (issue 24 there).
vptx:   not run yet. The learning rate is a guess from their grid, to be chosen on the validation split.
Cost:   579,272 trained parameters, 409,800 of them the head; a prompt file of 2.21 MB. Time not measured.

    python tools/train.py configs/cls/resnet50_in1k_cub_channel.py
"""

_base_ = [
    '../_base_/nets/resnet50_in1k.py',
    '../_base_/tasks/cub200.py',
    '../_base_/protocols/vpt_sgd.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=200))
custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='ChannelPrompter', num_channels=3, init='normalised'),
        tune=['head', 'net.model.bn1'],
    )
]
grid = {'base_lr': [5, 2.5, 1, 0.5, 0.25, 0.1, 0.05, 0.025, 0.01]}
optim_wrapper = dict(optimizer=dict(lr=1.0 * 256 / 256))
train_dataloader = dict(batch_size=256)
auto_scale_lr = dict(base_batch_size=256)
