"""From command line arguments to a config, and from a config to a Runner."""

import argparse
import ast
import sys
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner import Runner

from vptx.checkpoint import last_checkpoint
from vptx.datasets import CustomImages
from vptx.datasets.pipeline import set_test_pipeline, test_pipeline
from vptx.datasets.random_views import with_views
from vptx.hooks.prompt_tuning_hook import refuse_sharding
from vptx.launch import join, number_of_processes
from vptx.prompt_file import read_prompt
from vptx.settings import check_config, check_options
from vptx.shipped import find_config

__all__ = ['find_own_modules', 'keep_features', 'load_config', 'make_runner', 'read_config']


def read_config(path: str | Path, net: str | None = None) -> Config:
    """The config at ``path``, or of this name among those that come with vptx.

    With ``net``, it is read as if its line ``'.../nets/NAME.py'`` of ``_base_`` were another.

    The line may stand in the config or in one of its bases, and the new file is looked for next to the old one.

    Raises:
        FileNotFoundError: no such config.
        ValueError: no such net (lists those that are there), or a config without such a line.
    """
    path = find_config(path)
    if net is None:
        return Config.fromfile(path)
    with TemporaryDirectory() as folder:
        copy = _swap_net(path.absolute(), net, folder)
        if copy is None:
            raise ValueError(f"{path} has no line '.../nets/NAME.py' in _base_ that {net} could take the place of")
        return Config.fromfile(copy)


def _swap_net(path: Path, net: str, folder: str) -> Path | None:
    """A copy in ``folder`` of the config at ``path`` with another net; None where there is none to swap."""
    if path.parent.name == 'nets':
        if not path.with_name(f'{net}.py').is_file():
            there = ', '.join(sorted(file.stem for file in path.parent.glob('*.py')))
            raise ValueError(f"there is no net '{net}' in {path.parent}, only {there}")
        return path.with_name(f'{net}.py')
    if path.suffix != '.py':
        return None
    tree = ast.parse(path.read_text())
    lines = [node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '_base_']
    if not lines:
        return None
    named = ast.literal_eval(lines[0].value)
    bases = [named] if isinstance(named, str) else named
    old = [base if '::' in base else (path.parent / base).resolve() for base in bases]  # '::': of another package
    new = [_swap_net(base, net, folder) if isinstance(base, Path) else None for base in old]
    if not any(new):
        return None
    lines[0].value = ast.parse(repr([str(n or o) for n, o in zip(new, old, strict=True)]), mode='eval').body
    copy = Path(mkdtemp(dir=folder), path.name)
    copy.write_text(ast.unparse(tree))
    return copy


def find_own_modules() -> None:
    """Let ``custom_imports`` of a config find a module that lies where the tool is run.

    After all that is installed: no file there takes the place of a library.
    """
    sys.path.append(str(Path.cwd()))


def load_config(args: argparse.Namespace) -> Config:
    """The config that the arguments describe; a tool without some argument goes without what it asks for.

    Raises:
        FileNotFoundError: no such config, or no such checkpoint to test.
        ValueError: an option that nothing reads, or a setting that cannot be; see ``vptx.settings``.
    """
    find_own_modules()
    net = vars(args).get('net')
    config = read_config(args.config, net)
    check_options(config, args.cfg_options)
    config.merge_from_dict(args.cfg_options)
    check_config(config)
    config.launcher = args.launcher
    name = '_'.join(filter(None, (Path(args.config).stem, net)))
    config.work_dir = args.work_dir or config.get('work_dir') or str(Path('work_dirs') / name)
    given = vars(args)
    found = last_checkpoint(config.work_dir) if given.get('resume') == 'auto' else given.get('resume')
    if found:  # else the run begins, with the weights of load_from if it has any
        config.resume = True
        _load_from(config, found)
    if given.get('new_settings'):
        for hook in config.get('custom_hooks') or []:
            if str(hook['type']).rpartition('.')[2] == 'PromptTuningHook':
                hook['resume_settings'] = 'config'
    if given.get('checkpoint') and args.checkpoint != 'none':
        from vptx.hub import local  # not on `import vptx`: huggingface_hub takes a fifth of a second

        found = local(args.checkpoint)
        _load_from(config, found)
        _name_classes(config, found)
    if given.get('amp'):
        half = 'AmpOptimWrapper' if torch.cuda.is_available() else 'BFloat16OptimWrapper'
        config.optim_wrapper.type = half
    if given.get('total_batch_size'):
        _share_batch(config, given['total_batch_size'], number_of_processes(args.launcher))
    if given.get('auto_scale_lr'):
        if 'auto_scale_lr' not in config:
            raise ValueError(f'--auto-scale-lr: {args.config} has no auto_scale_lr=dict(base_batch_size=...)')
        config.auto_scale_lr.enable = True
    if given.get('tta'):
        if 'tta_model' not in config or 'tta_pipeline' not in config:
            raise ValueError(f'--tta: {args.config} has no tta_model and tta_pipeline')
        config.test_dataloader.dataset.pipeline = config.tta_pipeline
        config.custom_hooks = [*config.get('custom_hooks', []), dict(type='PrepareTTAHook', tta_cfg=config.tta_model)]
    if given.get('tpt'):
        if given.get('tta'):
            raise ValueError('--tpt has views of its own: leave --tta out')
        set_test_pipeline(config, with_views(test_pipeline(config)))
        tuning = dict(type='PrepareTTAHook', tta_cfg=dict(type='TPTModel'))
        config.custom_hooks = [*config.get('custom_hooks', []), tuning]
    if given.get('features'):
        keep_features(config, args.features, required=True)
    if given.get('no_validate'):
        config.val_cfg = config.val_dataloader = config.val_evaluator = None
    return config


def _share_batch(config: Config, total: int, processes: int) -> None:
    """Give each process its part of a batch."""
    if total % processes:
        raise ValueError(
            f'--total-batch-size {total} cannot be shared equally by {processes} processes: give a multiple of '
            f'{processes}, such as {processes * max(1, round(total / processes))}'
        )
    config.train_dataloader.batch_size = total // processes


def _load_from(config: Config, path: str | Path) -> None:
    """Load a run's file; what the config itself loads is where its frozen weights come from."""
    if config.get('load_from'):
        config.setdefault('frozen_from', config.load_from)
    config.load_from = str(path)


def _name_classes(config: Config, path: str | Path) -> None:
    """Number the classes of test images as a run's file does, which needs no training images."""
    loader = config.get('test_dataloader') or {}
    data = loader.get('dataset') or {}
    if data.get('type') in ('CustomImages', CustomImages) and not data.keys() & {'classes', 'metainfo'}:
        classes = read_prompt(path)[1].get('classes')
        if classes:
            data.classes = classes


def keep_features(config: Config, folder: str | Path, required: bool) -> None:
    """Add ``FeatureCacheHook`` to a config, in place of its own."""
    others = [hook for hook in config.get('custom_hooks', []) if not str(hook.get('type')).endswith('FeatureCacheHook')]
    hook = dict(type='FeatureCacheHook', folder=str(folder), required=required)
    config.custom_hooks = [*others, hook]


def make_runner(config: Config) -> Runner:
    """The Runner of a config, on one process or many, with or without a GPU.

    Raises:
        ValueError: a setting that cannot be; see ``vptx.settings``.
    """
    check_config(config)
    kind = config.get('runner_type', 'Runner')
    if kind != 'Runner':
        raise ValueError(f'runner_type={kind!r}: the tools of vptx run a Runner; leave runner_type out')
    if config.get('launcher', 'none') != 'none':
        refuse_sharding(config)  # before torch asks for a GPU
        join(config)  # MMEngine leaves a process group alone that is there already
    if config.get('launcher', 'none') != 'none' and get_device() == 'cpu':
        config.model_wrapper_cfg = {**(config.get('model_wrapper_cfg') or {}), 'device_ids': None}
        config.sync_bn = None  # torch synchronises the statistics of a batch between GPUs only
    return Runner.from_cfg(config)
