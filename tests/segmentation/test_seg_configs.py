"""Every config of segmentation, found and not listed: counted at its real size, and trained for one iteration with a
tiny network of the same kind, in small, by a Runner of its own, on random images that go through its own pipelines."""

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from PIL import Image
from torch import nn

import vptx
from vptx.registry import DATASETS, MODELS

CONFIGS = Path(__file__).parents[2] / 'configs'
FILES = {path.stem: path for path in [*(CONFIGS / 'seg').glob('*.py'), *(CONFIGS / 'real').glob('seg_*.py')]}
LEAVES = sorted(FILES)
REAL = [leaf for leaf in LEAVES if not leaf.startswith(('mini_', 'seg_'))]


@cache
def parsed(leaf: str) -> Config:
    config = Config.fromfile(FILES[leaf])
    import_modules_from_strings(**config.custom_imports)
    return config


@cache
def real(leaf: str) -> nn.Module:
    """The prompted model of a config at its real size, without numbers in it."""
    config = deepcopy(parsed(leaf))
    config.model.backbone.net.weights = None
    (hook,) = config.custom_hooks
    words = config.model.decode_head.get('words')
    if words:
        words.tower.pretrained = None
    with torch.device('cpu' if words else 'meta'), DefaultScope.overwrite_default_scope('mmseg'):
        return vptx.attach(MODELS.build(config.model), hook.get('prompter'), hook.tune)


def trained(leaf: str) -> int:
    return sum(parameter.numel() for parameter in real(leaf).parameters() if parameter.requires_grad)


@pytest.mark.parametrize('leaf', REAL)
def test_header_counts_what_trains(leaf):
    note = (CONFIGS / 'seg' / f'{leaf}.py').read_text().split('"""')[1]
    for part in ('Source: ', 'Paper: ', 'vptx: ', 'Cost: ', f'python tools/train.py configs/seg/{leaf}.py'):
        assert part in note
    assert f'{trained(leaf):,} trained parameters' in note


@pytest.mark.parametrize(
    ('leaf', 'theirs', 'apart'),
    [
        ('head', 13.18, 0.04),
        ('vpt', 13.43, 0.04),
        ('bias', 13.46, 0.05),
        ('vpt_bias', 15.79, -0.08),
        ('full', 318.31, 1.02),
    ],
)
def test_counts_beside_the_papers(leaf, theirs, apart):
    """The differences that the headers explain."""
    assert theirs - trained(f'setr_vitl_{leaf}') / 1e6 == pytest.approx(apart, abs=0.006)


@pytest.mark.parametrize('leaf', LEAVES)
def test_heads_know_the_classes_of_the_data(leaf):
    config, model = parsed(leaf), real(leaf)
    data = config.train_dataloader.dataset
    classes = data.get('classes') or DATASETS.get(data.type).METAINFO['classes']
    heads = [module for module in model.modules() if isinstance(module, BaseDecodeHead)]
    assert heads and {head.num_classes for head in heads} == {len(classes)}
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in model.modules())


@pytest.mark.parametrize('leaf', [leaf for leaf in REAL if parsed(leaf).get('auto_scale_lr')])
def test_learning_rate_is_for_the_batch_it_says(leaf):
    assert parsed(leaf).auto_scale_lr.base_batch_size == parsed(leaf).train_dataloader.batch_size == 16


def smaller(part: Any, widths: dict[int, int], divide: int) -> None:
    """Divide sizes of images in a config, and put in other widths."""
    if isinstance(part, (list, tuple)):
        for each in part:
            smaller(each, widths, divide)
    if not isinstance(part, dict):
        return
    for key, value in part.items():
        several = isinstance(value, (tuple, list))
        if key in ('crop_size', 'stride', 'size', 'scale', 'img_size'):
            made = [-(-side // divide // 8) * 8 for side in (value if several else [value])]
            part[key] = tuple(made) if several else made[0]
        elif key in ('in_channels', 'channels', 'out_channels', 'mla_channels'):
            made = [widths.get(width, width) for width in (value if several else [value])]
            part[key] = made if several else made[0]
        else:
            smaller(value, widths, divide)


def shrink(config: Config) -> None:
    """A tiny network of the same kind and depth, at a fraction of the image size, without its weights."""
    net = config.model.backbone.net
    net.update(embed_dim=12, weights=None)
    if words := config.model.decode_head.get('words'):
        words.tower.update(width=12, pretrained=None)
    net.pop('fresh', None)
    widths = {192: 12, 384: 12, 768: 12, 1024: 12, 256: 8, 512: 16, 128: 4, 32: 8}
    if 'swin' in net.model:
        widths = {128: 12, 256: 24, 512: 48, 1024: 96}
    else:
        net.num_heads = 3
    for part in ('model', 'train_dataloader', 'val_dataloader', 'test_dataloader'):
        smaller(config[part], widths, divide=2 if 'mini' in net.model else 1 if net.img_size == 112 else 8)
    if 'patch14' in net.model and net.img_size != 112:  # as many whole patches as the real one has
        net.img_size = 5 * 14


def write_random(folder: Path, config: Config) -> None:
    """An image and its mask for training and for validation, where the config looks for them."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = config[name]
        loader.update(batch_size=2 if name == 'train_dataloader' else 1, num_workers=0, persistent_workers=False)
        data = loader.dataset
        data.data_root = str(folder)
        prefix = data.get('data_prefix') or {
            key: f'{kind}/{data.split}' for key, kind in (('img_path', 'images'), ('seg_map_path', 'masks'))
        }
        rng = np.random.default_rng(0)
        for key, suffix in (('img_path', '.jpg'), ('seg_map_path', '.png')):
            place = folder / prefix[key]
            place.mkdir(parents=True, exist_ok=True)
            for index in range(2):
                shape = (40, 56, 3) if key == 'img_path' else (40, 56)
                pixels = rng.integers(0, 255 if key == 'img_path' else len(data.get('classes', range(12))), shape)
                Image.fromarray(pixels.astype(np.uint8)).save(place / f'{index}{suffix}')
        if data.get('ann_file'):
            path = folder / data.ann_file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text('0\n1\n')


@pytest.mark.parametrize(
    'leaf',
    # Baselines are slow: heads alone, biases and all weights of the same network.
    [pytest.param(leaf, marks=[pytest.mark.slow] * leaf.endswith(('_head', '_bias', '_full'))) for leaf in LEAVES],
)
def test_config_trains(leaf, tmp_path):
    config = deepcopy(parsed(leaf))
    shrink(config)
    write_random(tmp_path / 'data', config)
    config.update(work_dir=str(tmp_path / 'run'), experiment_name=f'{tmp_path.name} {leaf}')
    config.train_cfg.update(max_iters=1, val_interval=1)
    runner = Runner.from_cfg(config)
    runner.train()
    assert runner.iter == 1
    assert all(torch.isfinite(parameter).all() for parameter in runner.model.parameters())
    optimised = {id(p) for group in runner.optim_wrapper.optimizer.param_groups for p in group['params']}
    assert optimised == {id(p) for p in runner.model.parameters() if p.requires_grad}
    assert (tmp_path / 'run' / 'prompt.safetensors').is_file()
