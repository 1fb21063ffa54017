"""EfficientNet-Lite0 as it is, 20 labelled images of ImageNet: is the classifier read right?

vptx: not run yet.

python tools/test.py configs/real/imagenet.py none
python tools/predict.py configs/real/imagenet.py none IMAGES
"""

_base_ = ['../_base_/nets/efficientnet_lite0.py', '../_base_/runtime.py']

model = dict(
    backbone=dict(net=dict(img_size=224, num_classes=1000), readout='logits'),
    head=dict(_delete_=True, type='ClsHead', topk=(1, 5)),
)
custom_hooks = [dict(type='PromptTuningHook', mapping=dict(type='IndexMapping', num_classes=1000), tune=[])]
test_dataloader = dict(
    batch_size=20,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CustomImages',
        data_root='real://imagenet',
        split='test',
        classes=[str(number) for number in range(1000)],
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(224, 224), interpolation='bicubic', backend='pillow'),  # all of the image
            dict(type='PackInputs'),
        ],
    ),
)
test_evaluator = dict(type='Accuracy', topk=(1, 5))
test_cfg = dict()
