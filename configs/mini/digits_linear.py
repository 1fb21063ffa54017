"""Linear probe on the digits, ViT-mini pre-trained with supervision.

python tools/train.py configs/mini/digits_linear.py
"""

_base_ = [
    '../_base_/nets/vit_mini_sup.py',
    '../_base_/prompters/linear.py',
    '../_base_/tasks/digits.py',
    '../_base_/protocols/mini.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=10))
# As the images are: turned and moved ones, which help every other method, cost a linear classifier several points.
train_dataloader = dict(dataset=dict(pipeline=[dict(type='PackInputs')]))
