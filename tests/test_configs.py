"""Every config there is, found and not listed: built with a tiny network put in, and trained for one iteration by a
Runner of its own, on random images that go through its own pipelines."""

import re
from collections.abc import Callable, Hashable
from copy import deepcopy
from functools import cache
from itertools import combinations
from math import ceil, cos, pi, prod
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import pytest
import timm
import torch
from covering import covering
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, HOOKS, PARAM_SCHEDULERS, DefaultScope
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings
from mmpretrain.datasets import BaseDataset
from PIL import Image
from timm.layers import QuickGELU
from timm.models import get_pretrained_cfg
from torch import nn
from torchvision import transforms

import vptx
from vptx.attach import find_prompted_network
from vptx.configs import read_config
from vptx.datasets import TASKS
from vptx.registry import MODELS, TRANSFORMS
from vptx.studies.protocol import RATE, points, selection_config, studies

CONFIGS = Path(__file__).parent.parent / 'configs'
LEAVES = sorted(str(path.relative_to(CONFIGS)) for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts)
EVERY = [leaf for leaf in LEAVES if leaf != 'real/imagenet.py']  # is only tested: tests/real/test_fetched.py
LEAVES = [
    leaf for leaf in EVERY if not leaf.startswith(('seg/', 'real/seg_'))
]  # tests/segmentation/test_seg_configs.py
NETS = sorted(path.stem for path in (CONFIGS / '_base_' / 'nets').glob('*.py'))
REAL = [leaf for leaf in LEAVES if leaf.startswith(('clip/', 'cls/', 'vtab/', 'fgvc/')) and '/mini_' not in leaf]
ON_CLIP_MINI = [leaf for leaf in LEAVES if leaf.startswith('clip/mini_')]
# A tiny one of each kind of net, and the width that its head then sees.
TINY = {
    'TimmViT': (dict(embed_dim=12, depth=3, num_heads=3), 12),
    'TimmSwin': (dict(embed_dim=12, depths=(1, 1), num_heads=(1, 2)), 24),
    'TimmClassifier': (dict(model='test_resnet'), 96),
}
# A text tower as deep as CLIP's, whose prompts say in how many layers they are.
TOWER = dict(width=12, layers=12, heads=2)


@DATASETS.register_module()
class RandomImages(BaseDataset):
    """Two random images, each as an array and as a file, through the pipeline of the data set they stand in for."""

    def __init__(self, size: int, file: str, classes: int, pipeline: list) -> None:
        self.size, self.file = size, file
        names = [str(i) for i in range(classes)]
        super().__init__(ann_file='', pipeline=pipeline, metainfo=dict(classes=names), serialize_data=False)

    def load_data_list(self) -> list[dict]:
        image = np.random.default_rng(0).integers(256, size=(self.size, self.size, 3), dtype=np.uint8)
        mmcv.imwrite(image, self.file)
        return [dict(img=image, img_path=self.file, gt_label=label) for label in range(2)]


@HOOKS.register_module()
class StopAfterOneEpoch(Hook):
    """Notes the learning rate of the first iteration, and ends the run after an epoch of one batch."""

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        self.first_lr = runner.optim_wrapper.get_lr()['lr'][0]

    def after_train_epoch(self, runner: Runner) -> None:
        runner.train_loop.stop_training = True


@cache
def parsed(leaf: str, net: str | None = None) -> Config:
    config = read_config(CONFIGS / leaf, net)
    import_modules_from_strings(**config.custom_imports)
    return config


def load(leaf: str, net: str | None = None) -> Config:
    """A copy of a config, to be changed at will; with another net, if one is named."""
    return deepcopy(parsed(leaf, net))


def kind(net: str) -> str:
    """Which of vptx's nets it is."""
    return Config.fromfile(CONFIGS / '_base_' / 'nets' / f'{net}.py').model.backbone.net.type


# A leaf into which a net can be put: with deep prompts, or with those that a network without tokens can have.
LEAF = {
    net: 'mini/digits_vpt_deep.py'
    if 'mini' in net
    else {'TimmClassifier': 'cls/resnet50_in1k_cub_pad.py'}.get(kind(net), 'cls/vitb16_in21k_cub_vpt_deep.py')
    for net in NETS
}


def shrink(config: Config) -> None:
    """A tiny network of the same kind, at the same image size, without its weights."""
    if config.model.type == 'ContrastivePretraining':
        config.model.vision_cfg.update(width=12, layers=2, head_width=4)
        config.model.text_cfg.update(width=8, layers=2)
        config.model.visual = None
        return
    if config.model.backbone.type == 'PromptedBackbone':
        changes, width = TINY[config.model.backbone.net.type]
        config.model.backbone.net.update(weights=None, **changes)
        reader = config.model.get('neck') or config.model.head
        if 'in_channels' in reader:
            reader.in_channels = width
        for hook in config.get('custom_hooks', []):
            if hook['type'] != 'PromptTuningHook':
                continue
            if 'depth' in changes:
                hook.tune = [pattern.replace('11', str(changes['depth'] - 1)) for pattern in hook.tune]
            draw(hook)
            for prompter in several(hook):
                if prompter.get('segments'):  # which divide the width
                    prompter.segments = 4
            if 'tower' in (hook.get('mapping') or {}):
                hook.mapping.tower = dict(TOWER, embed=config.model.backbone.net.num_classes)
                fit_layers(hook, changes.get('depth', 0))
            for prompter in several(hook):
                if encoder := prompter.get('encoder'):
                    encoder.update(TINY[encoder.type][0])


def several(hook: dict) -> list[dict]:
    """The configs of its prompters."""
    found = hook.get('prompter') or []
    return found if isinstance(found, list) else [found]


def fit_layers(hook: dict, depth: int) -> None:
    """Prompts in no more layers than the image tower has."""
    prompter = hook.get('prompter') or {}
    if prompter.get('layers'):
        prompter.layers = prompter.layers[:depth]
    if prompter.get('type') == 'CoupledPrompter':
        hook.mapping.prompter.depth = depth


def draw(hook: dict) -> None:
    """A prompter that brings weights of its own, or a network with weights, draws them."""
    for part in (part for prompter in several(hook) for part in (prompter, prompter.get('encoder'))):
        if (part or {}).get('weights'):
            part.weights = None


def number_of_classes(config: Config) -> int:
    """Of the head, or of the label mapping under one that adds nothing."""
    mappings = [hook.get('mapping') for hook in config.get('custom_hooks', []) if hook.get('mapping')]
    return mappings[0].get('num_classes', 2) if mappings else config.model.get('head', {}).get('num_classes', 2)


def feed(config: Config, size: int, folder: Path) -> None:
    """Random images in place of the data, no processes to load them, and batches of two."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if config.get(name):
            loader, data = config[name], config[name].dataset
            loader.update(batch_size=2, num_workers=0, persistent_workers=False)
            if data.type == 'CaptionedScenes':  # drawn, and small
                data.length = 4
                continue
            classes = number_of_classes(config)
            file = str(folder / f'{name}.png')
            loader.dataset = dict(type='RandomImages', size=size, file=file, classes=classes, pipeline=data.pipeline)


def kinds(part: Any) -> frozenset[str]:
    """The types that a part of a config names, at any depth."""
    if isinstance(part, dict):
        named, parts = {str(part['type'])} if 'type' in part else set(), part.values()
    else:
        named, parts = set(), part if isinstance(part, (list, tuple)) else ()
    return frozenset(named.union(*map(kinds, parts)))


def with_(*parts: str) -> Callable[[str, str | None], Hashable]:
    """What a config trains with, as far as some of its parts say it."""
    return lambda leaf, net: tuple(kinds(parsed(leaf, net).get(part)) for part in parts)


def settings_of_net(leaf: str, net: str | None) -> Hashable:
    """Which it sets, not to what."""
    backbone = parsed(leaf, net).model.get('backbone', {})
    return frozenset(backbone), frozenset(backbone.get('net', ()))


#: In few of them every kind of model with every kind of hook, prompter and mapping, every schedule, every pipeline.
TRAINED = covering(
    [*((leaf, None) for leaf in LEAVES), *((LEAF[net], net) for net in NETS)],
    with_('model', 'custom_hooks'),
    with_('optim_wrapper', 'param_scheduler'),
    with_('train_dataloader'),
    with_('val_dataloader', 'test_dataloader'),
    lambda leaf, net: frozenset(parsed(leaf, net).train_cfg),
    settings_of_net,
)


def marked(leaves: list[str]) -> list:
    """Those that differ from others in their images alone are slow, and so are baselines on other images."""
    baseline = re.compile(r'(vtab|fgvc|cls|real|mini)/(?!digits).*_(linear|bias|full|partial_1|mlp_3)\.py')
    others_images = re.compile(r'_transfer|cifar100_(vpt|added|pad)|photo_patches_(?!vpt_deep)|fgvc/(?!.*vpt_deep)')
    slow = [bool(others_images.search(leaf) or baseline.fullmatch(leaf)) for leaf in leaves]
    return [pytest.param(leaf, marks=[pytest.mark.slow] * is_slow) for leaf, is_slow in zip(leaves, slow)]


@pytest.mark.parametrize(('leaf', 'net'), TRAINED)
def test_config_trains(leaf, net, tmp_path):
    config = load(leaf, net)
    size = config.model.get('backbone', {}).get('net', {}).get('img_size', 64)
    shrink(config)
    feed(config, size, tmp_path)
    # A later stage of pre-training goes on from a checkpoint of the first, which no fresh clone has.
    config.update(work_dir=str(tmp_path / 'run'), experiment_name=f'{tmp_path.name} {leaf}', load_from=None)
    config.custom_hooks = [*config.get('custom_hooks', []), dict(type='StopAfterOneEpoch')]
    if 'max_iters' in config.train_cfg:
        config.train_cfg.max_iters = 1
    pruning = [hook for hook in config.custom_hooks if hook['type'] == 'PruningHook']
    if pruning:  # after a first training without it
        first = deepcopy(config)
        first.custom_hooks = [hook for hook in first.custom_hooks if hook['type'] != 'PruningHook']
        first.update(work_dir=str(tmp_path / 'first'), experiment_name=f'{tmp_path.name} first')
        Runner.from_cfg(first).train()
        pruning[0].first = str(tmp_path / 'first' / 'prompt.safetensors')

    runner = Runner.from_cfg(config)
    runner.train()

    (stop,) = (hook for hook in runner.hooks if isinstance(hook, StopAfterOneEpoch))
    assert runner.iter == 1
    assert all(torch.isfinite(parameter).all() for parameter in runner.model.parameters())
    if any(hook['type'] == 'PromptTuningHook' for hook in config.custom_hooks):
        optimised = {id(p) for group in runner.optim_wrapper.optimizer.param_groups for p in group['params']}
        learns = {id(p) for p in runner.model.parameters() if p.requires_grad}
        assert optimised > learns if pruning else optimised == learns  # factors are in the optimizer, and stay
        assert (tmp_path / 'run' / 'prompt.safetensors').is_file()

    if not any(parameter.requires_grad for parameter in runner.model.parameters()):
        return  # a label mapping that is counted
    assert stop.first_lr > 0
    *warmups, decay = runner.param_schedulers  # all have taken one step
    if not warmups:
        # A power law of the steps does not begin at one.
        law = config.param_scheduler[0]
        begins = config.optim_wrapper.optimizer.lr / law.get('offset', 1) ** law.get('power', 0)
        assert stop.first_lr == pytest.approx(begins)
        return
    if decay.begin == 1:  # a warm-up of one epoch, which is one iteration here, has no way up
        factor = getattr(warmups[0], 'factor', None) or warmups[0].start_factor
        assert stop.first_lr == pytest.approx(config.optim_wrapper.optimizer.lr * factor)
        return
    for _ in range(decay.begin - 1):
        for scheduler in (*warmups, decay):
            scheduler.step()
    stated, custom = (
        config.optim_wrapper.optimizer.lr,
        config.optim_wrapper.get('paramwise_cfg', {}).get('custom_keys', {}),
    )
    scales = [1.0, *(options['lr_mult'] for options in custom.values() if 'lr_mult' in options)]
    reached = runner.optim_wrapper.get_lr()['lr']
    assert any(lr == pytest.approx(stated) for lr in reached)
    assert all(any(lr == pytest.approx(stated * scale) for scale in scales) for lr in reached)


@pytest.mark.parametrize('leaf', [leaf for leaf in LEAVES if number_of_classes(parsed(leaf)) > 2])
def test_head_has_a_number_for_each_class(leaf):
    config = parsed(leaf)
    dataset = config.train_dataloader.dataset
    if dataset.type in ('BenchmarkTask', 'CoOpTask'):
        assert TASKS[dataset.task].classes == number_of_classes(config)
        return
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        classes = DATASETS.get(dataset.type).METAINFO.get('classes')
    assert classes is None or len(classes) == number_of_classes(config)


@pytest.mark.parametrize('leaf', [leaf for leaf in LEAVES if parsed(leaf).get('test_dataloader')])
def test_nothing_is_chosen_on_the_test_split(leaf):
    config = parsed(leaf)
    splits = [config[f'{name}_dataloader'].dataset.split for name in ('train', 'val', 'test')]
    assert splits == ['train', 'val', 'test']


@pytest.mark.parametrize('leaf', EVERY)
def test_schedule_ends_with_the_run(leaf):
    """One that ends before trains on at a rate of zero; one that ends after never comes to rest."""
    config = Config.fromfile(CONFIGS / leaf)
    last, epochs = config.param_scheduler[-1], config.train_cfg.get('max_epochs')
    if 'milestones' in last:
        assert max(last.milestones) < epochs
    elif epochs and not last.get('by_epoch', True):  # in iterations; the last batch of an epoch counts, or does not
        loader = config.train_dataloader
        images = {'HoldoutCIFAR100': 45_000, 'FormulaImages': 240 * 400}[loader.dataset.type]
        assert 0 <= epochs * ceil(images / loader.batch_size) - last.end <= epochs
    else:
        assert last.end == (epochs or config.train_cfg.max_iters)


@pytest.mark.parametrize('leaf', marked([leaf for leaf in LEAVES if parsed(leaf).get('variants')]))
def test_variants_train_something_else_each(leaf, tmp_path):
    """Each is built and prompted, and has a study with a grid of its own."""
    seen = []
    for study in studies([CONFIGS / leaf], tmp_path):
        config = study.selection()[-1].config
        seen.append([config.model, config.custom_hooks, config.train_dataloader])
        if not Path(config.model.backbone.net.weights or '').is_file():
            config = deepcopy(config)
            shrink(config)
        model = vptx.init_model(config)
        prompted = find_prompted_network(model)
        learnt = [*prompted.prompter.parameters(), *prompted.mapping.parameters(), *model.head.parameters()]
        assert trained(model) == sum(parameter.numel() for parameter in learnt)
        trains = trained(model) > 0 or getattr(prompted.mapping, 'train_keys', False)  # of images still to be seen
        assert len(study.selection()) == (len(points(study.config)) if trains else 1)
        assert config.param_scheduler[-1].end == config.train_cfg.max_epochs or not trains
    assert len(seen) > 1 and not any(one == other for one, other in combinations(seen, 2))


@pytest.mark.parametrize('leaf', [leaf for leaf in LEAVES if parsed(leaf).get('auto_scale_lr')])
def test_learning_rate_is_for_the_batch_it_says(leaf):
    config = parsed(leaf)
    assert config.auto_scale_lr.base_batch_size == config.train_dataloader.batch_size


# What the docstring of vpt_sgd.py says to give on the command line.
AT_ZERO = {'param_scheduler.0.start_factor': 1e-8, 'param_scheduler.0.end': 11}


@pytest.mark.parametrize('protocol', ['vpt_sgd', 'vpt_adamw'])
@pytest.mark.parametrize('at_zero', [False, True], ids=['mended', 'as published'])
def test_schedule_is_the_papers_but_for_the_first_epoch(protocol, at_zero):
    config = Config.fromfile(CONFIGS / '_base_' / 'protocols' / f'{protocol}.py')
    if at_zero:
        config.merge_from_dict(AT_ZERO)
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    schedulers = [PARAM_SCHEDULERS.build(dict(scheduler, optimizer=optimizer)) for scheduler in config.param_scheduler]
    factors = []
    for _ in range(config.train_cfg.max_epochs):
        factors.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    warm = [(epoch + (not at_zero)) / 10 for epoch in range(10)]
    cool = [0.5 * (1 + cos(pi * (epoch - 10) / 90)) for epoch in range(10, 100)]
    assert factors == pytest.approx(warm + cool, abs=1e-7)


@pytest.mark.parametrize(
    ('protocol', 'epochs', 'rate'),
    [
        ('clip_coop', 200, 0.002),
        ('clip_coop_50', 50, 0.002),
        ('clip_cocoop', 10, 0.002),
        ('clip_kgcoop', 100, 0.002),
        ('clip_vpt', 5, 0.0025),
        ('clip_maple', 5, 0.0035),
        ('clip_maple_transfer', 2, 0.0026),
        ('clip_promptsrc', 20, 0.0025),
        ('clip_promptsrc_50', 50, 0.0025),
        *((f'clip_coop_shots {shots}', epochs, 0.002) for shots, epochs in ((1, 50), (4, 100), (16, 200))),
    ],
)
def test_schedules_on_clip_are_those_of_the_public_code(protocol, epochs, rate):
    """1e-5 in the first epoch, then a cosine that begins one epoch late and is as long as the run."""
    name, _, shots = protocol.partition(' ')
    config = Config.fromfile(CONFIGS / '_base_' / 'protocols' / f'{name}.py')
    if shots:
        tasks = Config.fromfile(CONFIGS / '_base_' / 'tasks' / 'coop.py')
        config.merge_from_dict(tasks.to_dict())
        config.merge_from_dict(config.variants[f'{shots}_shots'])
        subsets = [config[f'{split}_dataloader'].dataset.subset.shots for split in ('train', 'val')]
        assert subsets == [int(shots), min(int(shots), 4)]
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=config.optim_wrapper.optimizer.lr)
    schedulers = [PARAM_SCHEDULERS.build(dict(scheduler, optimizer=optimizer)) for scheduler in config.param_scheduler]
    found = []
    for _ in range(config.train_cfg.max_epochs):
        found.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    assert found == pytest.approx([1e-5] + [rate * (1 + cos(pi * e / epochs)) / 2 for e in range(epochs - 1)], rel=1e-9)
    assert config.optim_wrapper.optimizer.weight_decay == 5e-4 and config.grid[RATE] == [rate]


@pytest.mark.parametrize('size', [(300, 225), (225, 301), (224, 500), (64, 48)])
def test_images_of_coop_are_prepared_as_by_the_public_code(size, tmp_path):
    image = np.random.default_rng(0).integers(256, size=(*size, 3), dtype=np.uint8)
    mmcv.imwrite(image, str(tmp_path / 'image.png'))
    steps = Config.fromfile(CONFIGS / '_base_' / 'tasks' / 'coop.py').test_pipeline
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        item = dict(img_path=str(tmp_path / 'image.png'))
        for step in steps[:-1]:
            item = TRANSFORMS.build(step)(item)
    reference = transforms.Compose(
        [transforms.Resize(224, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(224)]
    )(Image.fromarray(image[..., ::-1]))
    assert np.array_equal(item['img'][..., ::-1], np.asarray(reference))


def test_data_of_base_to_new_and_of_transfer():
    halves, transfer = (
        Config.fromfile(CONFIGS / '_base_' / 'tasks' / f'coop_{name}.py') for name in ('base_to_new', 'transfer')
    )
    parts = [halves[f'{split}_dataloader'].dataset.get('part', 'all') for split in ('train', 'val', 'test')]
    assert parts == ['base', 'base', 'all'] and halves.test_evaluator == dict(type='BaseToNew')
    tasks = [name for name, task in TASKS.items() if task.suite in ('coop', 'imagenet_shift')]
    assert [transfer.train_dataloader.dataset.task, *transfer.final.transfer] == tasks


def test_bahngs_schedule_is_theirs():
    """(t + 1) / 1000 of the rate in the steps of the warm-up, then the cosine of all the others."""
    config = parsed('cls/resnet50_in1k_cifar100_vp.py')
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=config.optim_wrapper.optimizer.lr)
    schedulers = [PARAM_SCHEDULERS.build(dict(scheduler, optimizer=optimizer)) for scheduler in config.param_scheduler]
    rates = []
    for _ in range(1100):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    steps = config.train_cfg.max_epochs * ceil(45_000 / config.train_dataloader.batch_size)
    warm = [40 * (step + 1) / 1000 for step in range(1000)]
    cool = [20 * (1 + cos(pi * (step - 1000) / (steps - 1000))) for step in range(1000, 1100)]
    assert rates == pytest.approx(warm + cool, rel=1e-6)


def real(leaf: str, num_tokens: int | None = None, net: str | None = None) -> nn.Module:
    """The prompted model of a config at its real size, without numbers in it."""
    config = load(leaf, net)
    config.model.backbone.net.weights = None
    (hook,) = (hook for hook in config.custom_hooks if hook.type == 'PromptTuningHook')
    draw(hook)
    if 'tower' in (hook.get('mapping') or {}):  # CLIP's, without its weights
        hook.mapping.tower = dict(width=512, layers=12, heads=8, embed=config.model.backbone.net.num_classes)
    if num_tokens:
        hook.prompter.num_tokens = num_tokens
    of_words = 'tower' in (hook.get('mapping') or {})  # which reads the vectors of words
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        with torch.device('meta'):
            model = MODELS.build(config.model)
        with torch.device('cpu' if of_words else 'meta'):
            return vptx.attach(model, hook.get('prompter'), hook.tune, hook.get('readout'), hook.get('mapping'))


def trained(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@pytest.mark.parametrize('leaf', marked(REAL))
def test_header_counts_what_trains(leaf):
    assert f'{trained(real(leaf)):,} trained parameters' in (CONFIGS / leaf).read_text()


@pytest.mark.parametrize('leaf', ON_CLIP_MINI)
def test_header_counts_what_trains_on_clip_mini(leaf):
    assert f'{trained(vptx.init_model(load(leaf))):,} trained parameters' in (CONFIGS / leaf).read_text() or (
        '160 trained parameters for each training image' in (CONFIGS / leaf).read_text()
    )


@pytest.mark.parametrize('leaf', [*REAL, *ON_CLIP_MINI])
def test_header_has_source_numbers_and_command(leaf):
    note = (CONFIGS / leaf).read_text().split('"""')[1]
    for part in ('Source: ', 'Paper: ', 'vptx: ', 'Cost: ', f'python tools/train.py configs/{leaf}'):
        assert part in note


def test_trained_numbers_are_those_of_the_paper():
    """Of the public code's log: 926,214 for 100 prompts and 6 classes; 85,798,656 in the network."""
    assert trained(real('cls/vitb16_in21k_cub_vpt_deep.py', num_tokens=50)) == 12 * 50 * 768 + 200 * 769
    assert trained(real('cls/vitb16_in21k_cub_vpt_shallow.py', num_tokens=50)) == 50 * 768 + 200 * 769
    deep = real('cls/vitb16_in21k_cub_vpt_deep.py', num_tokens=100)
    assert trained(deep) - 194 * 769 == 926_214
    assert sum(parameter.numel() for parameter in find_prompted_network(deep).net.parameters()) == 85_798_656


@pytest.mark.parametrize('leaf', [leaf for leaf in LEAVES if parsed(leaf).get('grid')])
def test_learning_rate_is_a_point_of_the_grid(leaf):
    config = parsed(leaf)
    stated = config.optim_wrapper.optimizer.lr
    base = stated * 256 / config.train_dataloader.batch_size
    assert stated in config.grid.get(RATE, ()) or any(base == pytest.approx(r) for r in config.grid.get('base_lr', ()))
    grid = points(config)
    assert len(grid) == prod(len(axis) for axis in (config.grid | config.get('method_grid', {})).values())
    for point in (grid[0], grid[-1]):  # every path leads somewhere
        selection_config(config, point)


def test_head_starts_as_in_the_public_code():
    config = load('cls/vitb16_in21k_cub_vpt_deep.py')
    shrink(config)
    config.model.head.in_channels = 768
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        head = MODELS.build(config.model.head)
    head.init_weights()
    assert head.fc.weight.std().item() == pytest.approx((2 / 200) ** 0.5, rel=0.02)
    assert head.fc.bias.sigmoid().tolist() == pytest.approx([0.01] * 200, rel=1e-4)


# Of timm's facts, those that a net's docstring explains away: what timm has under that name are other weights, the
# paper normalised otherwise, positions are interpolated.
NORMALISED_LIKE_THE_PAPER = {'vit_b16_in21k', 'vit_l16_in21k', 'vit_h14_in21k'}
UNKNOWN_TO_TIMM = {'vit_b16_mocov3'}
INTERPOLATED = {'vit_b14_dinov2', 'vit_l14_dinov2', 'vit_s14_saliency'}
IMAGENET = dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@pytest.mark.parametrize('net', NETS)
def test_net_is_as_timm_says(net):
    model = Config.fromfile(CONFIGS / '_base_' / 'nets' / f'{net}.py').model
    facts, pixels = get_pretrained_cfg(model.backbone.net.model).to_dict(), model.data_preprocessor
    if net in NORMALISED_LIKE_THE_PAPER | UNKNOWN_TO_TIMM:
        facts.update(IMAGENET)
    assert pixels.to_rgb
    assert [value / 255 for value in pixels.mean] == pytest.approx(facts['mean'])
    assert [value / 255 for value in pixels.std] == pytest.approx(facts['std'])
    size = model.backbone.net.get('img_size', 64)
    assert (size == facts['input_size'][-1]) == (net not in INTERPOLATED)
    weights = model.backbone.net.weights
    if net not in UNKNOWN_TO_TIMM and 'mini' not in net and not weights.startswith('real://'):
        assert weights == f'timm://{model.backbone.net.model}'
        assert timm.is_model_pretrained(model.backbone.net.model)


@pytest.mark.parametrize('net', NETS)
def test_net_fits_its_head_and_the_images_of_the_tasks(net):
    model = real(LEAF[net], net=net)
    prompted, config = find_prompted_network(model), parsed(LEAF[net], net)
    assert model.head.in_channels == prompted.net.model.num_features
    assert prompted.net.geometry.image == (64, 64) if 'mini' in net else (224, 224)
    with torch.device('meta'):
        (feature,) = prompted(torch.empty(2, 3, *prompted.net.geometry.image))
    assert feature.shape == (2, config.model.head.in_channels)


def test_the_tower_of_clip_has_the_activation_it_was_trained_with():
    assert isinstance(
        find_prompted_network(real(LEAF['vit_b16_clip'], net='vit_b16_clip')).net.model.blocks[0].mlp.act, QuickGELU
    )


def test_only_the_net_is_swapped():
    leaf = 'cls/vitb16_in21k_cub_vpt_deep.py'
    before, after = parsed(leaf).to_dict(), parsed(leaf, 'vit_l16_mae').to_dict()
    assert {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)} == {'model'}
    assert after['model']['head']['num_classes'] == 200 and after['model']['head']['in_channels'] == 1024
    assert parsed(leaf, 'vit_b16_in21k').to_dict() == before


def test_the_papers_mae_averages_the_prompts_in():
    prompted = find_prompted_network(real('cls/vitb16_mae_cub_vpt_deep.py'))
    assert prompted.readout == 'prompts+patches' and prompted.prompter.prompts_at_end
    assert isinstance(prompted.net.model.norm, nn.Identity) and isinstance(prompted.net.model.fc_norm, nn.LayerNorm)


def write_leaf(path: Path, *bases: str) -> Path:
    path.write_text(f'_base_ = {list(bases)!r}\nlr = 1\n')
    return path


def test_a_net_is_swapped_in_a_base_of_a_base(tmp_path):
    leaf = write_leaf(tmp_path / 'mine.py', str(CONFIGS / 'mini/digits_vpt_deep.py'), 'other.py')
    (tmp_path / 'other.py').write_text('mine = 2')
    config = read_config(leaf, 'vit_mini_mae')
    assert config.model.backbone.net.weights.endswith('vit_mini_mae.pth')
    assert (config.lr, config.mine) == (1, 2)
    assert config.optim_wrapper == parsed('mini/digits_vpt_deep.py').optim_wrapper


def test_what_cannot_be_swapped(tmp_path):
    with pytest.raises(ValueError, match=r"there is no net 'vit_b16_mea' in .*nets, only .*vit_b16_mae, "):
        read_config(CONFIGS / 'mini/digits_vpt_deep.py', 'vit_b16_mea')
    without = write_leaf(tmp_path / 'without.py', str(CONFIGS / '_base_/runtime.py'))
    with pytest.raises(ValueError, match=r"has no line '\.\.\./nets/NAME\.py' in _base_ that vit_b16_mae could take"):
        read_config(without, 'vit_b16_mae')
    with pytest.raises(FileNotFoundError):
        read_config(tmp_path / 'none.py', 'vit_b16_mae')


@pytest.mark.parametrize('net', [net for net in NETS if 'mini' in net])
def test_weights_of_the_mini_nets_load(net):
    config = load(LEAF[net], net)
    weights = config.model.backbone.net.weights
    if weights and not Path(weights).is_file():
        pytest.skip(f'{Path(weights).name} is still being trained')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        feature = MODELS.build(config.model).eval().extract_feat(torch.zeros(1, 3, 64, 64))[0]
    assert feature.shape == (1, 192) and feature.isfinite().all()
