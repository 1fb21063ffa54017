"""VPT-deep on CUB-200-2011, ViT-B/16 pre-trained as a masked autoencoder: another pre-training, otherwise the same.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119, whose readout for MAE this is:
        patches and prompts averaged, then a new norm that stays frozen.
Paper:  not on CUB-200-2011. On VTAB-1k 36.0, 60.6 and 26.6 % (natural, specialised, structured); table 4.
vptx:   not run yet. The learning rate is a guess from their grid, to be chosen on the validation split.
Cost:   245,960 trained parameters, 153,800 of them the head; a prompt file of 0.94 MB. Time not measured.

    python tools/train.py configs/cls/vitb16_mae_cub_vpt_deep.py
"""

_base_ = [
    '../_base_/nets/vit_b16_mae.py',
    '../_base_/tasks/cub200.py',
    '../_base_/protocols/vpt_sgd.py',
    '../_base_/runtime.py',
]

model = dict(backbone=dict(net=dict(global_pool='avg', fresh=['norm', 'fc_norm'])), head=dict(num_classes=200))
custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='DeepPrompter', num_tokens=10, dropout=0.1),
        tune=['head'],
        readout='prompts+patches',
    )
]
optim_wrapper = dict(optimizer=dict(lr=5.0 * 128 / 256))
