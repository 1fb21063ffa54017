"""A model zoo's checkpoint, which fills a stock backbone."""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import DefaultScope
from runs import hook, runner

from vptx.registry import MODELS

from .battery import Kind
from .prompt_files import state_of
from .spoils import BYTES, NUMBERS, OBJECTS, PICKLES, baited, change, drop, each, put

VIT = dict(
    type='VisionTransformer',
    arch=dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64),
    img_size=16,
    patch_size=8,
)
HEAD = dict(type='VisionTransformerClsHead', num_classes=3, in_channels=32)
TENSOR = 'state_dict/backbone.layers.1.ffn.layers.1.bias'


@cache
def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(5)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(dict(type='ImageClassifier', backbone=VIT, head=HEAD)).state_dict()


def write(folder: Path) -> Path:
    path = folder / 'zoo.pth'
    torch.save(dict(state_dict=dict(tensors()), meta={}), path)
    return path


def run(work: Path, load_from: str | None = None, **backbone: Any) -> Any:
    model = {'model.backbone': dict(VIT, _delete_=True, **backbone), 'model.head': dict(HEAD, _delete_=True)}
    made = runner(work, hooks=[hook()], load_from=load_from, **model, **{'train_cfg.max_epochs': 1})
    made.train()
    return state_of(made.model)


def loaded(path: Path, work: Path) -> Any:
    return run(work, load_from=str(path))


def initialised(path: Path, work: Path) -> Any:
    return run(work, init_cfg=dict(type='Pretrained', checkpoint=str(path), prefix='backbone.'))


KIND = Kind(
    "model zoo's checkpoint",
    write,
    {
        **BYTES,
        **PICKLES,
        'a list': change(lambda found: [found]),
        'a number': change(lambda found: 3),
        'an empty dictionary': change(lambda found: {}),
        **each('state_dict', 'state_dict', {'None': None, 'a list': [1]}),
        'no tensors': put('state_dict', {}),
        'a tensor is missing': drop(TENSOR),
        'a tensor too many': put('state_dict/backbone.layers.2.ffn.layers.1.bias', torch.zeros(32)),
        'the names of another network': change(
            lambda found: found.update(state_dict={f'bert.{name}': t for name, t in found['state_dict'].items()})
        ),
        'keys that are numbers': put('state_dict', lambda state: dict(enumerate(state.values()))),
        **each('a tensor', TENSOR, NUMBERS),
        **each('a tensor is', TENSOR, OBJECTS),
        'meta: None': put('meta', None),
        'meta: a list': put('meta', [1]),
        'a config that runs code': baited('meta/config', lambda bait: f'open({str(bait.canary)!r}, "w")'),
    },
    {'load_from': loaded, 'init_cfg': initialised},
    harmless=('a config that runs code', ('a tensor is missing', 'init_cfg'), ('a tensor too many', 'init_cfg')),
)
