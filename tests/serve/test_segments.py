"""Segmentors in a bank: a mixed batch gives the pixels of each image what its task alone would."""

from pathlib import Path

import pytest
import segruns
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from test_bank import change
from torch import nn

import vptx
from vptx.registry import MODELS
from vptx.serve import Bank

PROMPTERS = {
    'deep': dict(type='DeepPrompter', num_tokens=2),
    'longer': dict(type='DeepPrompter', num_tokens=5),
    'shallow': dict(type='ShallowPrompter', num_tokens=3),
    'LoRA': dict(type='LoRA', rank=2),
    'heads': None,
}
CLASSES = {'deep': 4, 'longer': 3, 'shallow': 6, 'LoRA': 4, 'heads': 2}


def segmentor(classes: int = 4, seed: int = 0, **changes) -> nn.Module:
    """The same frozen network, with another head for each seed."""
    config = segruns.segmentor(**changes)
    for head in (config['decode_head'], *(config['auxiliary_head'] or [])):
        head['num_classes'] = classes
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(ConfigDict(config))
    torch.manual_seed(seed)
    for name, tensor in model.decode_head.state_dict().items():
        if tensor.is_floating_point():  # batch statistics, too
            tensor.uniform_(0.1, 1) if 'var' in name else tensor.normal_()
    return model.eval()


def task(name: str, double: bool = False, tune: tuple[str, ...] = ('decode_head', 'auxiliary_head'), **changes):
    """A segmentor of a task, as after some training, in eval mode."""
    seed = sum(map(ord, name))
    model = vptx.attach(segmentor(CLASSES[name], seed, **changes), PROMPTERS[name], tune=list(tune))
    with torch.no_grad():
        for parameter in model.backbone.prompter.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return (model.double() if double else model).eval()


def saved(model: nn.Module, path: Path, **facts) -> Path:
    vptx.save_prompt(model, path, **facts)
    return path


def logits(model: nn.Module, image: torch.Tensor) -> torch.Tensor:
    """What mmsegmentation makes of an image (1, 3, H, W)."""
    meta = dict(ori_shape=image.shape[2:], img_shape=image.shape[2:])
    with torch.no_grad():
        return model.inference(image, [meta])[0]


def difference(found: torch.Tensor, model: nn.Module, image: torch.Tensor) -> float:
    """Of logits from what a model gives alone, relative to the largest of these."""
    wanted = logits(model, image[None])
    assert found.shape == wanted.shape
    return float((found - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize('double', [False, True])
@pytest.mark.parametrize('size', [(32, 32), (40, 56)], ids=['one window', 'windows'])
def test_a_mixed_batch_is_each_task_alone(double, size, tmp_path):
    kind = torch.float64 if double else torch.float32
    bank, alone = Bank(segmentor().to(kind), tmp_path / 'bank'), {}
    for name in PROMPTERS:
        alone[name] = task(name, double)
        bank.add(name, saved(alone[name], tmp_path / f'{name}.safetensors'))
    names = ['longer', 'heads', 'deep', 'shallow', 'deep', 'LoRA', 'heads']
    images = torch.randn(len(names), 3, *size, generator=torch.Generator().manual_seed(1)).to(kind)
    images[1] = images[0]  # one image under two tasks
    for name, image, found in zip(names, images, bank.predict(images, names), strict=True):
        assert found.shape == (CLASSES[name], *size)
        assert difference(found, alone[name], image) <= (1e-12 if double else 1e-5), name


def test_a_neck_and_heads_of_other_kinds(tmp_path):
    """SETR-MLA has a neck, which each task trains; its head reads several maps."""
    parts = dict(
        neck=dict(type='MLANeck', in_channels=[24, 24], out_channels=8, norm_cfg=dict(type='BN')),
        decode_head=dict(
            type='FCNHead',
            in_channels=[8, 8],
            in_index=[0, 1],
            input_transform='resize_concat',
            channels=8,
            num_convs=1,
            num_classes=4,
            norm_cfg=dict(type='BN'),
        ),
        auxiliary_head=None,
        test_cfg=dict(mode='whole'),
    )
    bank = Bank(segmentor(**parts).double(), tmp_path / 'bank')
    alone = {name: task(name, True, ('neck', 'decode_head'), **parts) for name in ('deep', 'longer')}
    for name, model in alone.items():
        bank.add(name, saved(model, tmp_path / f'{name}.safetensors'))
    images = torch.randn(3, 3, 32, 32).double()
    names = ['longer', 'deep', 'longer']
    for name, image, found in zip(names, images, bank.predict(images, names), strict=True):
        assert difference(found, alone[name], image) <= 1e-12, name


@pytest.fixture
def one(tmp_path):
    """A bank of one slot with a task, the task alone and its file."""
    bank, model = Bank(segmentor(), tmp_path / 'bank', slots=1), task('deep')
    path = saved(model, tmp_path / 'deep.safetensors')
    bank.add('deep', path)
    return bank, model, path


def spoils(path: Path, folder: Path) -> dict[str, tuple[Path, str]]:
    """Files that do not fit, and what is said of them."""
    bad = folder / 'bad'
    bad.mkdir()
    net = dict(type='PromptedBackbone', readout=dict(maps=[1, 2]))
    kinds = {
        'size': task('deep', backbone=dict(net, net=dict(segruns.NET, img_size=64))),
        'network': task('deep', backbone=dict(net, net=dict(segruns.NET, model='vit_tiny_patch16_224', patch_size=8))),
        'readout': task('deep', backbone=dict(net, net=segruns.NET, readout=dict(maps=[2, 1]))),
        'wider': task('deep', decode_head=dict(segruns.head(in_index=1, num_convs=3, up_scale=2), channels=16)),
        'shorter': task('deep', decode_head=segruns.head(in_index=1, num_convs=2, up_scale=2)),
        'last': task('deep', tune=('decode_head.conv_seg',)),
        'none': task('deep', tune=()),
        'binary': task(
            'heads', decode_head=segruns.head(in_index=1, num_convs=3, up_scale=2, out_channels=1, threshold=0.5)
        ),
        'inside': task('deep', tune=('decode_head', 'norm1')),
    }
    for name, model in kinds.items():
        saved(model, bad / f'{name}.safetensors')
    change(path, bad / 'classifier.safetensors', readout="'cls'")
    other = change(path, bad / 'names.safetensors', classes=['a', 'b'])
    pixels = change(path, bad / 'pixels.safetensors', pixels=dict(mean=[0.0], std=[1.0]))
    return {
        'of another image size': (bad / 'size.safetensors', 'images of 64 x 64 px'),
        'of another network': (bad / 'network.safetensors', 'belongs to the network'),
        'of other maps': (bad / 'readout.safetensors', r'readout=dict\(maps=\[2, 1\]'),
        'of a wider head': (bad / 'wider.safetensors', 'does not fit the decode head of this bank, SETRUPHead'),
        'of another head': (bad / 'shorter.safetensors', r'lacks decode_head\.up_convs\.2'),
        'of a part of the head': (bad / 'last.safetensors', r'lacks decode_head\.norm'),
        'without a head': (bad / 'none.safetensors', r'lacks decode_head'),
        'of one output': (bad / 'binary.safetensors', 'a decode head of 1 outputs'),
        'with more that trained': (bad / 'inside.safetensors', 'which does not train here'),
        'of a classifier': (bad / 'classifier.safetensors', 'was trained with readout='),
        'of other names': (other, 'names of 2 classes, its head has 4'),
        'of other pixels': (pixels, 'normalised by'),
    }


def test_a_file_that_does_not_fit_leaves_the_bank_as_it_was(one):
    bank, model, path = one
    for what, (bad, message) in spoils(path, path.parent).items():
        with pytest.raises(ValueError, match=message) as error:
            bank.add('deep', bad)
        assert str(bad) in str(error.value), what
    assert bank.names == ('deep',)
    images = torch.randn(2, 3, 32, 32)
    for image, found in zip(images, bank.predict(images, ['deep', 'deep']), strict=True):
        assert difference(found, model, image) <= 1e-5


def test_slots_and_versions_hold_prompts_and_heads_together(one):
    bank, model, path = one
    other = task('longer')
    with bank.pinned(['deep']) as (old,):
        assert bank.add('deep', saved(other, path.with_name('other.safetensors'))) != old.version
        assert old.head.classes == 4
    images = torch.randn(1, 3, 32, 32)
    assert difference(bank.predict(images, ['deep'])[0], other, images[0]) <= 1e-5
    assert bank.task('deep').bytes > sum(t.nbytes for t in other.decode_head.state_dict().values())
    assert len(model.decode_head.conv_seg.weight) == 4


def test_segmentors_that_no_bank_takes():
    norms = dict(type='PromptedBackbone', net=segruns.NET, readout=dict(maps=[1, 2], norm='each'))
    with pytest.raises(ValueError, match='norms that each task trains'):
        Bank(segmentor(backbone=norms))
    model = segmentor()
    model.decode_head.conv_seg = nn.Linear(8, 4)
    with pytest.raises(ValueError, match='that of SETRUPHead is not'):
        Bank(model)
