"""Reprogramming of a real classifier: a prompt on the image, and a mapping of its 1000 classes to new ones.

Each experiment config is a prompt. Its `variants` are the compared mappings, one study each; `linear` is a linear probe
of the features instead of a mapping. The rate is selected on validation from three, for a batch of 256 images; that of
the head is a tenth of that of the pixels, whose values are about one.
"""

_base_ = ['./real.py']

optim_wrapper = dict(optimizer=dict(lr=3e-2), paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=0.1))))
grid = {'base_lr': [0.01 * 256 / 15, 0.03 * 256 / 15, 0.1 * 256 / 15]}
final = dict(split='train', seeds=[42, 43, 44])
variants = dict(
    random={'custom_hooks.0.mapping.type': 'RandomMapping'},
    frequency={'custom_hooks.0.mapping.type': 'FrequencyMapping'},
    iterative={'custom_hooks.0.mapping.type': 'IterativeMapping'},
    bayesian={'custom_hooks.0.mapping.type': 'BayesianMapping'},
    bayesian_plus={'custom_hooks.0.mapping.type': 'BayesianMapping', 'custom_hooks.0.mapping.top': 0.15},
    linear={
        'custom_hooks.0.mapping': None,
        'custom_hooks.0.tune': ['head.fc'],  # not the network's own
        'model.head': dict(_delete_=True, type='LinearClsHead', in_channels=1280, num_classes=7),
    },
)
