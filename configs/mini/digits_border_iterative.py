"""A border of 8 px, and the digits read off the 240 categories that ViT-mini knows, anew in each epoch.

With RandomMapping, FrequencyMapping or BayesianMapping, what the mapping gains:

python tools/train.py configs/mini/digits_border_iterative.py
python tools/train.py configs/mini/digits_border_iterative.py --cfg-options custom_hooks.0.mapping.type=RandomMapping
"""

_base_ = ['./digits_frequency.py']

custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='BorderPrompter', width=8, init='zero'),
        mapping=dict(type='IterativeMapping', num_classes=10),
        tune=[],
    )
]
train_cfg = dict(max_epochs=30, val_interval=10)
# Pixels are all that trains, in numbers of about one.
optim_wrapper = dict(optimizer=dict(lr=1e-2), paramwise_cfg=dict(_delete_=True, custom_keys=dict()))
