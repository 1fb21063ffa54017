"""Prompt files: ``.safetensors`` that a run leaves."""

import json
import shutil
from argparse import Namespace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from runs import net, runner, write_config, write_weights

import vptx
from vptx.configs import load_config, make_runner

from .battery import Kind, Spoil, scratch
from .spoils import BYTES, NUMBERS, PICKLES, SAFETENSORS, baited, change, drop, each, header, put

__all__ = ['FACTS', 'initialised', 'loaded', 'state_of', 'tensors', 'tested', 'trained', 'training']


@cache
def trained() -> Path:
    """The folder of a real run of three epochs of an iteration, with its checkpoints and the config of one."""
    folder = scratch() / 'trained'
    weights = write_weights(folder.parent / 'weights.pth')
    changes: dict[str, Any] = {
        'model.backbone.net': net(weights=str(weights)),
        'train_dataloader.dataset.number': 8,
        'val_dataloader.dataset.number': 8,
        'test_dataloader.dataset.number': 8,
        'train_cfg.max_epochs': 3,
        'train_cfg.val_interval': 1,
        'default_hooks.checkpoint.save_best': 'accuracy/top1',
    }
    runner(folder, **changes, **{'default_hooks.checkpoint.max_keep_ckpts': -1}).train()
    write_config(folder / 'config.py', folder, **changes)
    return folder


def good(folder: Path) -> Path:
    return Path(shutil.copy(trained() / 'prompt.safetensors', folder / 'spoilt.safetensors'))


class Count(Hook):
    """Tells a run that went on from one that began."""

    iterations = 0

    def after_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        self.iterations += 1


def state_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def _runner(work: Path, **arguments: Any) -> Any:
    """The Runner that the tools make of their arguments."""
    plain = dict(config=trained() / 'config.py', cfg_options={}, launcher='none', work_dir=str(work))
    config = load_config(Namespace(**{**plain, **arguments}))
    config.experiment_name = work.parent.name
    return make_runner(config)


def training(path: Path | str | None, work: Path, **options: Any) -> Any:
    """``tools/train.py``: with ``--resume path``, or ``'auto'``, or with settings; what is learnt in the end."""
    run, count = _runner(work, resume=path and str(path), cfg_options=options), Count()
    run.register_hook(count)
    run.train()
    return dict(state=state_of(run.model), iterations=count.iterations)


def loaded(path: Path, work: Path) -> Any:
    """``tools/train.py`` from ``load_from``."""
    return training(None, work, load_from=str(path))


def tested(path: Path, work: Path) -> Any:
    """``tools/test.py``."""
    run = _runner(work, checkpoint=str(path))
    return dict(found=run.test(), state=state_of(run.model))


def initialised(path: Path, work: Path) -> Any:
    """``vptx.init_model``, as the tools that predict and export do it."""
    model = vptx.init_model(trained() / 'config.py', path)
    return dict(state=state_of(model), classes=list(model.dataset_meta['classes']))


def read_into(path: Path, work: Path) -> Any:
    """``vptx.load_prompt``, into a model that is there."""
    model = vptx.init_model(trained() / 'config.py')
    facts = vptx.load_prompt(model, path)
    return dict(state=state_of(model), classes=facts['classes'])


def _deep(depth: int = 100_000) -> bytes:
    facts = json.dumps({'__metadata__': {'vptx': '[' * depth}})
    return facts.encode()


#: What is said of the tensors.
FACTS = {
    'no facts': drop('meta/vptx'),
    'facts that are a list': put('meta/vptx', [1, 2]),
    'facts that are a number': put('meta/vptx', 3),
    'no format': drop('meta/vptx/format'),
    **each('format', 'meta/vptx/format', {'of tomorrow': 3, 'of yesterday': 1, 'a word': 'one', 'None': None}),
    'no network': drop('meta/vptx/network'),
    **each('network', 'meta/vptx/network', {'another': 'vit_large_patch16_224', 'a list': ['vit'], 'None': None}),
    'no prompter': drop('meta/vptx/prompter'),
    **each('prompter', 'meta/vptx/prompter', {'another': 'ShallowPrompter', 'a number': 7}),
    'no fingerprint': drop('meta/vptx/fingerprint'),
    **each(
        'fingerprint',
        'meta/vptx/fingerprint',
        {
            'another': {'backbone': {'float32': '0' * 16}},
            'none of the backbone': {},
            'of a precision that is none': {'backbone': {'float3': '0' * 16}},
            'a text': '0' * 16,
            'numbers': {'backbone': {'float32': 3}},
            'None': None,
            'a list': [1],
        },
    ),
    'no image size': drop('meta/vptx/image'),
    **each('image size', 'meta/vptx/image', {'a number': 64, 'words': ['a', 'b'], 'None': None}),
    'no settings': drop('meta/vptx/prompter_settings'),
    **each(
        'settings', 'meta/vptx/prompter_settings', {'others': {'layers': [0, 5]}, 'a list': [1], 'a word': 'layers'}
    ),
    **each('place of the network', 'meta/vptx/at', {'another': 'elsewhere.', 'a number': 3, 'None': None}),
    **each('readout', 'meta/vptx/readout', {'another': "'map'", 'a number': 3}),
    'no prompts named': drop('meta/vptx/prompts'),
    **each(
        'classes',
        'meta/vptx/classes',
        {
            'too few': ['a', 'b'],
            'too many': ['a', 'b', 'c', 'd'],
            'a word': 'abc',
            'a number': 3,
            'lists': [['a'], ['b'], ['c']],
            'numbers': [1, 2, 3],
            'twice the same': ['a', 'a', 'b'],
        },
    ),
}


def tensors(place: str = '', outside: str = 'outside.') -> dict[str, Spoil]:
    """What is wrong with tensors, whose names begin so in the prompted network and outside it."""
    prompts, head = f'{place}prompter.embedding.rows.0', f'{outside}head.fc.weight'
    return {
        'no tensors': change(lambda found: found['state_dict'].clear()),
        'a tensor is missing': drop(f'state_dict/{head}'),
        'a tensor too many': change(lambda found: found['state_dict'].update(other=torch.zeros(3))),
        'a frozen tensor among them': change(
            lambda found: found['state_dict'].update({f'{place}net.model.cls_token': torch.zeros(1, 1, 32)})
        ),
        'a tensor by another name': change(
            lambda found: found['state_dict'].update(weight=found['state_dict'].pop(prompts))
        ),
        'turned': put(f'state_dict/{head}', lambda tensor: tensor.T.contiguous()),
        **each('a tensor', f'state_dict/{head}', NUMBERS),
        'prompts that are no numbers': put(f'state_dict/{prompts}', NUMBERS['NaN']),
    }


FETCHED = {
    'frozen weights from an address': baited('meta/vptx/frozen_from', lambda bait: f'{bait.url}/weights-f37072fd.pth'),
    'frozen weights from a file': baited('meta/vptx/frozen_from', lambda bait: str(bait.treasure / 'epoch_7.pth')),
}

KIND = Kind(
    'prompt file',
    good,
    {
        **BYTES,
        **PICKLES,
        **SAFETENSORS,
        'metadata that are nested without end': header(_deep()),
        'metadata that are no JSON': header(b'{"__metadata__": {"vptx": "{"}}'),
        'no metadata': header(b'{}'),
        **FACTS,
        **tensors(),
        **FETCHED,
    },
    {
        'init_model': initialised,
        'load_prompt': read_into,
        'test.py': tested,
        'train.py load_from': loaded,
    },
    harmless=FETCHED,
    only={'classes: twice the same': ('init_model', 'test.py', 'train.py load_from')},  # where data have others
)
