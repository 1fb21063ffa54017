"""The mini benchmark of image prompts and label mappings, which measures the gain of each separately.

Each experiment config is a prompt. Its `variants` are the compared mappings, one study each; `linear` is a linear probe
of the features instead of a mapping. The rate is selected on validation from three, for a batch of 256 images; that of
the head is three times that of the pixels, whose values are about one.
"""

_base_ = ['./mini.py']

optim_wrapper = dict(optimizer=dict(lr=1e-2), paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=3))))
grid = {'base_lr': [0.003 * 256 / 20, 0.01 * 256 / 20, 0.03 * 256 / 20]}
final = dict(split='train', seeds=[42, 43, 44])
variants = dict(
    random={'custom_hooks.0.mapping.type': 'RandomMapping'},
    frequency={'custom_hooks.0.mapping.type': 'FrequencyMapping'},
    iterative={'custom_hooks.0.mapping.type': 'IterativeMapping'},
    bayesian={'custom_hooks.0.mapping.type': 'BayesianMapping'},
    linear={
        'custom_hooks.0.mapping': None,
        'custom_hooks.0.tune': ['head.fc'],  # not the network's own
        'model.head': dict(_delete_=True, type='LinearClsHead', in_channels=192, num_classes=10),
    },
)
