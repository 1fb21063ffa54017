"""From ImageNet to other data: trained on 16 images of each of the 1,000 classes, tested on ImageNet, on the ten other
data sets of CoOp, and on ImageNet V2, Sketch, A and R (domain generalisation)."""

_base_ = ['./coop.py']

train_dataloader = dict(dataset=dict(task='coop_imagenet'))
val_dataloader = dict(dataset=dict(task='coop_imagenet'))
test_dataloader = dict(dataset=dict(task='coop_imagenet'))
final = dict(
    transfer=[
        'coop_caltech101',
        'coop_oxford_pets',
        'coop_stanford_cars',
        'coop_oxford_flowers',
        'coop_food101',
        'coop_fgvc_aircraft',
        'coop_sun397',
        'coop_dtd',
        'coop_eurosat',
        'coop_ucf101',
        'imagenet_v2',
        'imagenet_sketch',
        'imagenet_a',
        'imagenet_r',
    ]
)
