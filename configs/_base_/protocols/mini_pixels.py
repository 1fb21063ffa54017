"""The mini world's recipe for pixels in front and mappings behind: what each of them gains is told apart.

A leaf is a prompt. Its `variants` are the mappings that it is compared under, a study each; `linear` is a linear probe
of the features in place of a mapping. The rate is chosen on validation from three, of 256 images; the head's is three
times that of the pixels, which are numbers of about one.
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
