"""The digits read off the 240 categories that ViT-mini knows, without a prompt: nothing trains.

RandomMapping and BayesianMapping, what a mapping gains alone:

python tools/train.py configs/mini/digits_frequency.py
python tools/train.py configs/mini/digits_frequency.py --cfg-options custom_hooks.0.mapping.type=RandomMapping
"""

_base_ = [
    '../_base_/nets/vit_mini_sup.py',
    '../_base_/tasks/digits.py',
    '../_base_/protocols/mini.py',
    '../_base_/runtime.py',
]

# The network keeps its own classifier.
model = dict(backbone=dict(net=dict(num_classes=240), readout='logits'), head=dict(_delete_=True, type='ClsHead'))
custom_hooks = [dict(type='PromptTuningHook', mapping=dict(type='FrequencyMapping', num_classes=10), tune=[])]
train_cfg = dict(max_epochs=1, val_interval=1)
