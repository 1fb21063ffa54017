"""What a frozen network makes of images is computed once, and a run that reads it ends as one that computes it."""

import json
import os
import runpy
import signal
import sys
from dataclasses import replace
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.dataset import pseudo_collate
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.structures import DataSample
from networks import tiny
from runs import REPO, differences, hook, load, net, newest, runner, write_config, write_weights

import vptx.datasets  # noqa: F401  registers CustomImages
import vptx.features.store as features_module
from vptx.attach import attach
from vptx.backbones.timm_vit import TimmViT
from vptx.features.images import CachedImages, FrozenOutput, take_features
from vptx.features.store import Features
from vptx.hooks import NotFrozenError
from vptx.registry import TRANSFORMS
from vptx.studies.protocol import experiment, studies

LINEAR = dict(type='PromptTuningHook', tune=['head'])
VAL = {'train_cfg.val_interval': 1}
UNJUDGED = dict(val_cfg=None, val_dataloader=None, val_evaluator=None)
MLP = dict(
    type='StackedLinearClsHead',
    num_classes=3,
    in_channels=32,
    mid_channels=[16],
    dropout_rate=0.5,
    norm_cfg=dict(type='BN1d'),
    _delete_=True,
)
MAPPED = {
    'model.backbone.net': net(num_classes=5),
    'model.head': dict(type='ClsHead', loss=dict(type='CrossEntropyLoss'), _delete_=True),
}


@TRANSFORMS.register_module(force=True)
class OwnDice(BaseTransform):
    """Draws from a generator that nobody else sees."""

    def transform(self, results: dict) -> dict:
        results['img'] = results['img'] + np.random.default_rng().integers(0, 100)
        return results


@TRANSFORMS.register_module(force=True)
class Dim(BaseTransform):
    """Makes an image darker, by a number that is in no config."""

    by = 1.0

    def transform(self, results: dict) -> dict:
        results['img'] = (results['img'] * Dim.by).astype(np.uint8)
        return results


@pytest.fixture
def seen(monkeypatch):
    """How many images went into the network, in a list of one number."""
    count, embed = [0], TimmViT.embed

    def counting(self, image):
        count[0] += len(image)
        return embed(self, image)

    monkeypatch.setattr(TimmViT, 'embed', counting)
    return count


def cache(tmp_path: Path, **options) -> dict:
    return dict(type='FeatureCacheHook', folder=str(tmp_path / 'features'), **options)


def kept(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / 'features').glob('*') if not path.name.startswith('.'))


def outcome(work_dir: Path, hooks: list[dict], **changes) -> dict:
    """What a run ends with: its checkpoint, every loss on the way, validation and test."""
    run = runner(work_dir, hooks=hooks, **{**VAL, **changes})
    run.train()
    return dict(
        state=load(newest(work_dir))['state_dict'],
        losses=run.message_hub.get_scalar('train/loss')._log_history.tolist(),
        val=run.val(),
        test=run.test(),
    )


CASES = {
    'linear': (LINEAR, {}),
    'map of the last layer': (
        dict(LINEAR, readout='map'),
        {'model.neck': dict(type='GlobalAveragePooling'), 'train_dataloader.collate_fn': dict(type='default_collate')},
    ),
    'MLP with dropout and batch norm': (LINEAR, {'model.head': MLP}),
    'prompts that do not train': (hook(tune=['head', '!prompter']), {}),
    'a mapping of the logits': (
        dict(type='PromptTuningHook', mapping=dict(type='FullyConnectedMapping', num_classes=3)),
        MAPPED,
    ),
    'a mapping that is counted': (
        dict(type='PromptTuningHook', mapping=dict(type='IterativeMapping', num_classes=3)),
        MAPPED,
    ),
    'bfloat16': (LINEAR, {'optim_wrapper.type': 'BFloat16OptimWrapper'}),
    'gradients added up': (LINEAR, {'optim_wrapper.accumulative_counts': 2}),
    'workers': (LINEAR, {'train_dataloader.num_workers': 2, 'train_dataloader.persistent_workers': True}),
    'by iteration': (
        LINEAR,
        {
            'train_cfg': dict(by_epoch=False, max_iters=6, val_interval=3, _delete_=True),
            'train_dataloader.sampler': dict(type='InfiniteSampler', shuffle=True),
            'default_hooks.checkpoint': dict(type='CheckpointHook', by_epoch=False, interval=3),
        },
    ),
    'prompts in the last layer': (hook(dict(type='DeepPrompter', num_tokens=3, layers=[-1], dropout=0.2)), {}),
    'the last layer': (dict(LINEAR, tune=['head', 'blocks.1', 'norm']), {}),
    'adapters in the last layer': (hook(dict(type='LoRA', rank=2), tune=['head', r'!prompter\..*[._]0']), {}),
    'Swin, its last stage': (
        dict(LINEAR, tune=['head', 'layers.1']),
        {
            'model.backbone.net': dict(
                type='TimmSwin',
                model='swin_tiny_patch4_window7_224',
                img_size=16,
                patch_size=2,
                window_size=4,
                embed_dim=16,
                depths=(1, 1),
                num_heads=(1, 2),
                _delete_=True,
            )
        },
    ),
}


def test_several_rows_are_read_in_one_step():
    rows = torch.arange(24.0).to(torch.bfloat16).view(3, 8)
    kept = Features(rows.view(torch.int16).numpy(), [(2, 3), (2,)], torch.bfloat16, [{}, {}, {}])
    maps, ends = kept.take([2, 0])
    assert torch.equal(maps, rows[[2, 0], :6].view(2, 2, 3)) and torch.equal(ends, rows[[2, 0], 6:])
    assert all(map(torch.equal, kept[-1], (maps[0], ends[0])))
    said = dict(meta=dict(size=[2, [3]]), data=dict(gt_label=[[1], 'int64']))
    data = CachedImages([], replace(kept, samples=[said] * 3), DataSample, FrozenOutput((maps, ends)))
    for found, item in zip(data.__getitems__([0, 2]), (data[0], data[2]), strict=True):
        one, other = found['data_samples'], item['data_samples']
        assert one.size == other.size == (2, (3,)) and one.gt_label.tolist() == other.gt_label.tolist() == [1]
        assert all(map(torch.equal, one.pop('features').tensors, other.pop('features').tensors))


@pytest.mark.parametrize('own', [False, True])
def test_pixels_that_stand_for_images_are_one_tensor_where_the_preprocessor_takes_both(own):
    taken = []

    class Own(ClsDataPreprocessor):
        def forward(self, data: dict, training: bool = False) -> dict:
            taken.append(data['inputs'])
            return super().forward(data, training)

    said = dict(meta={}, data=dict(gt_label=[[1], 'int64']))
    output = FrozenOutput(torch.zeros(1))
    data = CachedImages(
        [], Features(np.eye(3, dtype=np.float32), [(3,)], torch.float32, [said] * 3), DataSample, output
    )
    preprocessor = (Own if own else ClsDataPreprocessor)(mean=[1.0] * 3, std=[2.0] * 3)
    if not own:
        preprocessor.cast_data = lambda inputs: taken.append(inputs) or inputs
    network = attach(tiny(), None, ['net'])
    take_features(network, preprocessor)
    batch = preprocessor(pseudo_collate(data.__getitems__([1, 2])), True)
    assert torch.equal(batch['inputs'].value, torch.eye(3)[1:])
    assert [sample.gt_label.tolist() for sample in batch['data_samples']] == [[1], [1]]
    assert len(taken[0]) == 2 and isinstance(taken[0], list if own else torch.Tensor)


@pytest.mark.parametrize('name', CASES)
def test_a_run_ends_as_one_that_computes_all_anew(tmp_path, seen, name):
    plug, changes = CASES[name]
    torch.manual_seed(0)
    weights = {}
    if 'model.backbone.net' not in changes:
        weights = {'model.backbone.net': net(weights=str(write_weights(tmp_path / 'weights.pth')))}
    elif name.startswith('Swin'):
        weights = {'randomness': dict(seed=0)}
    plain = outcome(tmp_path / 'plain', [plug], **weights, **changes)
    seen[0] = 0
    first = outcome(tmp_path / 'first', [plug, cache(tmp_path)], **weights, **changes)
    once, seen[0] = seen[0], 0
    second = outcome(tmp_path / 'second', [plug, cache(tmp_path)], **weights, **changes)
    for run in (first, second):
        assert run['val'] == plain['val'] and run['test'] == plain['test']
        assert np.allclose(run['losses'], plain['losses'], atol=1e-6)
        assert run['state'].keys() == plain['state'].keys()
        for key, tensor in run['state'].items():
            assert torch.allclose(tensor, plain['state'][key], atol=1e-6), key
    assert len(kept(tmp_path)) == 2  # validation and test show the same images
    if not name.startswith('Swin'):
        # One to find what trains, two to compare, of each of three splits; these on the way to a layer as well.
        assert seen[0] <= 24 < once


def test_a_compiled_run_ends_so_too(tmp_path):
    weights = {'model.backbone.net': net(weights=str(write_weights(tmp_path / 'weights.pth')))}
    plug = hook(dict(type='DeepPrompter', num_tokens=3, layers=[-1]))
    runner(tmp_path / 'plain', hooks=[plug], **weights, **UNJUDGED).train()
    compiled = dict(weights, **UNJUDGED, compile=dict(backend='eager'))
    runner(tmp_path / 'compiled', hooks=[plug, cache(tmp_path)], **compiled).train()
    plain, ours = (load(newest(tmp_path / name))['state_dict'] for name in ('plain', 'compiled'))
    assert len(kept(tmp_path)) == 1 and ours.keys() == plain.keys()
    for key, tensor in ours.items():
        assert torch.allclose(tensor, plain[key], atol=1e-5), key


REFUSED = {
    'augmentation': (LINEAR, {'train_dataloader.dataset.pipeline': [dict(type='RandomFlip', prob=0.5)]}, 'RandomFlip'),
    'dice of its own': (LINEAR, {'train_dataloader.dataset.pipeline': [dict(type='OwnDice')]}, 'something is random'),
    'mixing in the preprocessor': (
        LINEAR,
        {'model.data_preprocessor.batch_augments': dict(augments=dict(type='Mixup', alpha=0.8))},
        'the data_preprocessor augments batches at random',
    ),
    'a prompter on the image': (
        hook(dict(type='PadPrompter', pad_size=4)),
        {},
        'prompter.* trains, on the image or in',
    ),
    'prompts in the first layer': (hook(), {}, 'prompter.embedding.rows.0 trains, on the image or in the first layer'),
    'a tuned stem': (dict(LINEAR, tune=['head', 'patch_embed']), {}, 'patch_embed.proj.weight, .* trains, on'),
    'a side network': (hook(dict(type='SideTuning')), {}, 'SideTuning sees the image again at the end'),
    'no prompted backbone': (None, {}, 'ImageClassifier has no prompted backbone'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_what_is_not_frozen_is_told_or_computed_as_ever(tmp_path, name):
    plug, changes, told = REFUSED[name]
    hooks = [plug] if plug else []
    if 'train_dataloader.dataset.pipeline' in changes:
        changes = {key: [*value, dict(type='PackInputs')] for key, value in changes.items()}
    if plug is None:
        stock = dict(type='VisionTransformer', arch='deit-t', img_size=16, patch_size=8, _delete_=True)
        changes = {'model.backbone': stock, 'model.head.in_channels': 192}
    run = runner(tmp_path / 'run', hooks=[*hooks, cache(tmp_path)], **changes)
    with pytest.raises(NotFrozenError, match=f'features of train cannot be kept: .*{told}'):
        run.train()
    assert not kept(tmp_path)
    if plug is not None and name != 'a side network':  # which is slow
        plain = outcome(tmp_path / 'plain', hooks, **changes)
        loose = outcome(tmp_path / 'loose', [*hooks, cache(tmp_path, required=False)], **changes)
        if name != 'dice of its own':
            assert not differences(plain['state'], loose['state']) and plain['losses'] == loose['losses']
        # What is not augmented is kept all the same.
        assert len(kept(tmp_path)) == (name in ('augmentation', 'dice of its own', 'mixing in the preprocessor'))


def test_dropout_in_the_frozen_part_is_told(tmp_path, monkeypatch):
    embed = TimmViT.embed

    def dropping(self, image):
        tokens, context = embed(self, image)
        return torch.nn.functional.dropout(tokens, 0.1), context

    monkeypatch.setattr(TimmViT, 'embed', dropping)
    with pytest.raises(NotFrozenError, match='the frozen part of the network draws at random'):
        runner(tmp_path / 'run', hooks=[LINEAR, cache(tmp_path)]).train()


def test_another_network_data_pipeline_size_or_precision_is_another_key(tmp_path):
    weights = write_weights(tmp_path / 'weights.pth')
    base = {'model.backbone.net': net(weights=str(weights))}
    pipeline = [dict(type='Resize', scale=16), dict(type='PackInputs')]
    settings = [
        base,
        {'model.backbone.net': net(weights=str(write_weights(tmp_path / 'other.pth', seed=1)))},
        dict(base, **{'train_dataloader.dataset.number': 25}),
        dict(base, **{'train_dataloader.dataset.pipeline': pipeline}),
        dict(base, **{'model.data_preprocessor.mean': [120.0] * 3}),
        dict(base, **{'optim_wrapper.type': 'BFloat16OptimWrapper'}),
        dict(base, **{'train_dataloader.dataset.pipeline': [dict(type='Resize', scale=32), dict(type='PackInputs')]}),
        dict(base, **{'model.backbone.readout': 'mean'}),
    ]
    for number, changes in enumerate(settings):
        runner(tmp_path / f'{number}', hooks=[LINEAR, cache(tmp_path)], **changes, **UNJUDGED).train()
        assert len(kept(tmp_path)) == number + 1, settings[number]
    # Neither the learning rate, nor the seed, nor where things lie.
    other = {'optim_wrapper.optimizer.lr': 0.1, 'randomness.seed': 5, 'train_dataloader.batch_size': 5}
    runner(tmp_path / 'last', hooks=[LINEAR, cache(tmp_path)], **base, **other, **UNJUDGED).train()
    assert len(kept(tmp_path)) == len(settings)


def test_an_image_that_was_changed_is_seen_again(tmp_path, seen):
    for label in ('a', 'b', 'c'):
        (tmp_path / 'data/train' / label).mkdir(parents=True)
        for i in range(4):
            image = np.random.default_rng(i).integers(0, 255, (16, 16, 3)).astype(np.uint8)
            cv2.imwrite(str(tmp_path / 'data/train' / label / f'{i}.png'), image)
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    data = dict(type='CustomImages', data_root=str(tmp_path / 'data'), split='trainval', pipeline=pipeline)
    weights = {'model.backbone.net': net(weights=str(write_weights(tmp_path / 'weights.pth')))}
    for expected in (1, 1, 2):
        if expected == 2:
            cv2.imwrite(str(tmp_path / 'data/train/b/2.png'), np.zeros((16, 16, 3), np.uint8))
        dataset = {'train_dataloader.dataset': dict(data, _delete_=True)}
        run = runner(tmp_path / 'run', hooks=[LINEAR, cache(tmp_path)], **weights, **dataset, **UNJUDGED)
        run.train()
        assert len(kept(tmp_path)) == expected
    names = [sample.img_path for batch in run.train_dataloader for sample in batch['data_samples']]
    assert len(names) == 12 and str(tmp_path / 'data/train/b/2.png') in names


def damaged(place: Path, how: str) -> None:
    rows, about = place / 'features.npy', place / 'about.json'
    if how == 'cut short':
        rows.write_bytes(rows.read_bytes()[:-10])
    elif how == 'a bit':
        content = bytearray(rows.read_bytes())
        content[-3] ^= 1
        rows.write_bytes(content)
    elif how == 'a label':
        about.write_text(about.read_text().replace('gt_label\\": [[0]', 'gt_label\\": [[1]', 1))
    elif how == 'half a file':
        about.write_text(about.read_text()[:100])
    elif how == 'gone':
        rows.unlink()
    elif how == 'a pickle':
        np.save(rows, np.array([dict(a=1)], dtype=object), allow_pickle=True)
    elif how == 'of something else':
        told = json.loads(about.read_text())
        told['content'] = told['content'].replace('"layer": null', '"layer": 1')
        about.write_text(json.dumps(told))
    elif how == 'too deep':
        about.write_text('[' * 100_000)
    else:
        forge(place, FORGED[how])


def forge(place: Path, change) -> None:
    """Change what is said of the features, and the check sum with it."""
    content = json.loads(json.loads((place / 'about.json').read_text())['content'])
    change(content)
    text, check = json.dumps(content), sha256(np.ascontiguousarray(np.load(place / 'features.npy')).data)
    check.update(text.encode())
    (place / 'about.json').write_text(json.dumps(dict(sha256=check.hexdigest(), content=text)))


FORGED = {
    'no shapes': lambda c: c.pop('shapes'),
    'other shapes': lambda c: c.update(shapes=[[1]]),
    'negative shapes': lambda c: c.update(shapes=[[-1], [33]]),
    'a function as a type': lambda c: c.update(dtype='load'),
    'another type': lambda c: c.update(dtype='float64'),
    'a function as the type of a label': lambda c: c['samples'][0]['data']['gt_label'].__setitem__(1, 'load'),
    'fewer samples': lambda c: c['samples'].pop(),
    'samples that are none': lambda c: c.update(samples=[3] * len(c['samples'])),
    'a forged label': lambda c: c['samples'][0]['data']['gt_label'].__setitem__(0, [1]),
}
HARM = ['cut short', 'a bit', 'a label', 'half a file', 'gone', 'a pickle', 'of something else', 'too deep', *FORGED]


@pytest.mark.parametrize('how', HARM)
def test_damaged_features_are_told_and_computed_anew(tmp_path, how):
    weights = {'model.backbone.net': net(weights=str(write_weights(tmp_path / 'weights.pth')))}
    first = outcome(tmp_path / 'first', [LINEAR, cache(tmp_path)], **weights)
    before = {path.name: (path / 'about.json').read_bytes() for path in kept(tmp_path)}
    for place in kept(tmp_path):
        damaged(place, how)
    second = runner(tmp_path / 'second', hooks=[LINEAR, cache(tmp_path)], **weights)
    told = []
    second.logger.warning = lambda text, *_: told.append(text)
    second.train()
    assert any('is damaged' in text and 'computed again' in text for text in told), told
    assert not differences(first['state'], load(newest(tmp_path / 'second'))['state_dict'])
    assert (kept(tmp_path)[0] / 'about.json').read_bytes() in before.values()


def test_what_no_key_tells_is_found_when_images_are_looked_at_again(tmp_path, monkeypatch):
    weights = {'model.backbone.net': net(weights=str(write_weights(tmp_path / 'weights.pth')))}
    dim = {'train_dataloader.dataset.pipeline': [dict(type='Dim'), dict(type='PackInputs')]}
    runner(tmp_path / 'first', hooks=[LINEAR, cache(tmp_path)], **weights, **dim).train()
    monkeypatch.setattr(Dim, 'by', 0.8)
    plain = outcome(tmp_path / 'plain', [LINEAR], **weights, **dim)
    run = runner(tmp_path / 'second', hooks=[LINEAR, cache(tmp_path)], **weights, **dim)
    told = []
    run.logger.warning = lambda text, *_: told.append(text)
    run.train()
    assert any('is not what the network makes of these images now; computed again' in text for text in told)
    assert not differences(plain['state'], load(newest(tmp_path / 'second'))['state_dict'])


def test_more_than_is_allowed_is_computed_as_ever(tmp_path):
    run = runner(tmp_path / 'run', hooks=[LINEAR, cache(tmp_path, gigabytes=1e-6)])
    told = []
    run.logger.warning = lambda text, *_: told.append(text)
    run.train()
    assert not kept(tmp_path) and 'more than gigabytes=1e-06' in ' '.join(told)


def test_processes_share_a_folder_and_what_a_killed_one_left_is_never_read(tmp_path):
    weights = {'model.backbone.net': net(weights=str(write_weights(tmp_path / 'weights.pth')))}
    path = write_config(tmp_path / 'linear.py', tmp_path / 'linear', hooks=[LINEAR], **weights)

    def compared(out: Path, jobs: int = 1, **options) -> list:
        found = experiment(studies([path], out, factors=[0.1, 1, 10], seeds=[0], **options), out, jobs)
        return [replace(outcome, kilobytes=0) for outcome in found]

    plain = compared(tmp_path / 'plain')
    killed = get_context('fork').Process(target=_killed_while_it_writes, args=(path, tmp_path / 'features'))
    killed.start()
    killed.join(120)
    assert killed.exitcode == -signal.SIGKILL
    (left,) = [path for path in (tmp_path / 'features').glob('.*') if path.name != '.locks']
    assert (left / 'features.npy').is_file() and not kept(tmp_path)

    assert compared(tmp_path / 'shared', jobs=2, features=tmp_path / 'features') == plain
    # One split to choose by, one to test with, and two to train on: with the seed, the network's own values differ.
    assert len(kept(tmp_path)) == 2 and not left.exists()
    # Features change no result, so runs with and without them are of one experiment.
    assert compared(tmp_path / 'shared') == plain


def _killed_while_it_writes(path: Path, features: Path) -> None:
    features_module.os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
    sys.argv = ['train.py', str(path), '--features', str(features)]
    runpy.run_path(str(REPO / 'tools/train.py'), run_name='__main__')
