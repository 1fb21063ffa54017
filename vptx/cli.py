"""What the tools share: arguments as mmpretrain's users know them, and the Runner they describe."""

import argparse
import sys
from pathlib import Path

import torch
import torch.distributed
from mmengine.config import Config, DictAction
from mmengine.runner import Runner

__all__ = ['add_common_arguments', 'load_config', 'make_runner']


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of every tool that runs a config."""
    parser.add_argument('config', help='a config file')
    parser.add_argument('--work-dir', help='where logs and checkpoints go; by default work_dirs/<name of the config>')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}, help='settings to override, as key.of.setting=value'
    )
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='of the processes of this run'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def load_config(args: argparse.Namespace) -> Config:
    """The config that the arguments describe; a tool without some argument goes without what it asks for.

    Raises:
        FileNotFoundError: no such config.
    """
    sys.path.insert(0, str(Path.cwd()))  # so that custom_imports finds a module next to where the tool is run
    config = Config.fromfile(args.config)
    config.merge_from_dict(args.cfg_options)
    config.launcher = args.launcher
    config.work_dir = args.work_dir or config.get('work_dir') or str(Path('work_dirs') / Path(args.config).stem)
    given = vars(args)
    if given.get('resume'):
        config.resume = True
        config.load_from = None if args.resume == 'auto' else args.resume
    if given.get('checkpoint'):
        config.load_from = args.checkpoint
    if given.get('amp'):
        half = 'AmpOptimWrapper' if torch.cuda.is_available() else 'BFloat16OptimWrapper'
        config.optim_wrapper.type = half
    if given.get('auto_scale_lr'):
        if 'auto_scale_lr' not in config:
            raise ValueError(f'--auto-scale-lr: {args.config} has no auto_scale_lr=dict(base_batch_size=...)')
        config.auto_scale_lr.enable = True
    if given.get('tta'):
        if 'tta_model' not in config or 'tta_pipeline' not in config:
            raise ValueError(f'--tta: {args.config} has no tta_model and tta_pipeline')
        config.test_dataloader.dataset.pipeline = config.tta_pipeline
        config.custom_hooks = [*config.get('custom_hooks', []), dict(type='PrepareTTAHook', tta_cfg=config.tta_model)]
    if given.get('no_validate'):
        config.val_cfg = config.val_dataloader = config.val_evaluator = None
    return config


def make_runner(config: Config) -> Runner:
    """The Runner of a config, on one process or many, with or without a GPU."""
    if config.launcher == 'pytorch' and not torch.cuda.is_available():
        # MMEngine's own start-up asks for a GPU; it leaves a process group alone that is there already.
        torch.distributed.init_process_group('gloo')
        config.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None)
        config.sync_bn = None  # torch synchronises the statistics of a batch between GPUs only
    return Runner.from_cfg(config)
