"""Tiny but real runs: a classifier of mmpretrain, images made from a seed, a config as a user writes it.

Tests import this module, and so do the processes they start, by ``custom_imports``.
"""

import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cheap_configs import make_configs_cheap
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.registry import METRICS
from mmengine.runner import Runner
from mmpretrain.datasets import BaseDataset

import vptx
from vptx.registry import DATASETS, HOOKS

make_configs_cheap()  # in processes that import this module, too

REPO = Path(__file__).parent.parent
CLASSES = ('bright', 'dark', 'striped')


@DATASETS.register_module(force=True)
class TinyImages(BaseDataset):
    """16 px images of three classes, from a seed; ``spoilt`` holds the index of one whose pixels are not a number."""

    METAINFO = dict(classes=CLASSES)

    def __init__(self, number: int = 24, spoilt: int | None = None, **arguments) -> None:
        self.number, self.spoilt = number, spoilt
        super().__init__(ann_file='', serialize_data=False, **arguments)

    def load_data_list(self) -> list[dict]:
        return [dict(img_path=f'tiny_{i}.png', gt_label=i % len(CLASSES)) for i in range(self.number)]

    def prepare_data(self, idx: int) -> Any:
        info = self.get_data_info(idx)
        label, noise = info['gt_label'], np.random.default_rng(info['sample_idx']).integers(0, 60, (16, 16, 3))
        image = noise + (0, 180, 90)[label]
        image[::4] += 80 * (label == 2)
        image = image.astype(np.uint8)
        if idx == self.spoilt:
            image = np.full(image.shape, np.nan, np.float32)
        return self.pipeline(dict(info, img=image, img_shape=(16, 16), ori_shape=(16, 16)))


@DATASETS.register_module(force=True)
class SlowImages(TinyImages):
    """Its images come late in the process of rank ``SLOW_RANK`` (environment), as from a slow disk."""

    def prepare_data(self, idx: int) -> Any:
        if os.environ.get('SLOW_RANK') == str(get_rank()):
            time.sleep(0.1)
        return super().prepare_data(idx)


@HOOKS.register_module(force=True)
class KillHook(Hook):
    """Kills its process, with nothing said: after an iteration, or inside the n-th write of a checkpoint. Not where
    torchrun has started it again.

    Args:
        iteration: after which, counted from 1 over the run.
        write: the checkpoint whose writing is cut short.
        at: ``'half'``, when half of the bytes are in the file; ``'replace'``, when the file is whole but not yet in
            its place; ``'pointer'``, when it is in its place and ``last_checkpoint`` is empty.
        rank: of the process, of several.
    """

    priority = 'LOW'

    def __init__(self, iteration: int = 0, write: int = 0, at: str = 'half', rank: int = 0) -> None:
        mine = get_rank() == rank and os.environ.get('TORCHELASTIC_RESTART_COUNT', '0') == '0'
        self.iteration, self.write, self.at = (iteration, write, at) if mine else (0, 0, at)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 == self.iteration:
            os.kill(os.getpid(), signal.SIGKILL)

    def before_save_checkpoint(self, runner, checkpoint) -> None:
        self.write -= 1
        if self.write != 0:
            return
        replace = os.replace

        def half(source, target):
            os.truncate(source, Path(source).stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

        def whole(source, target):
            os.kill(os.getpid(), signal.SIGKILL)

        def pointer(source, target):
            replace(source, target)
            (Path(target).parent / 'last_checkpoint').write_text('')
            os.kill(os.getpid(), signal.SIGKILL)

        os.replace = dict(half=half, replace=whole, pointer=pointer)[self.at]


@HOOKS.register_module(force=True)
class DumpRank(Hook):
    """Writes down what each process of a run has learnt, and from which images."""

    def __init__(self) -> None:
        self.images: set[str] = set()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.epoch == 0:
            self.images |= {sample.img_path for sample in data_batch['data_samples']}

    def after_train(self, runner) -> None:
        model = runner.model.module if hasattr(runner.model, 'module') else runner.model
        state = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
        torch.save(dict(state=state, images=self.images), Path(runner.work_dir, f'rank_{get_rank()}.pth'))


@METRICS.register_module(force=True)
class Evaluated(BaseMetric):
    """How many images were evaluated, and how many different ones."""

    def process(self, data_batch, data_samples) -> None:
        self.results += [sample['img_path'] for sample in data_samples]

    def compute_metrics(self, results: list[str]) -> dict[str, int]:
        return dict(images=len(results), different=len(set(results)))


def net(**options) -> dict:
    """Config of a network of 4 patches, 2 layers and width 32."""
    size = dict(img_size=16, embed_dim=32, depth=2, num_heads=2)
    return dict(type='TimmViT', model='vit_mini_patch8_64', **{**size, **options})


def loader(train: bool, pipeline: list[dict] | None = None, workers: int = 0, **dataset) -> dict:
    """Config of a data loader of batches of 8."""
    return dict(
        batch_size=8,
        num_workers=workers,
        persistent_workers=workers > 0,
        sampler=dict(type='DefaultSampler', shuffle=train),
        dataset=dict(type='TinyImages', pipeline=[*(pipeline or []), dict(type='PackInputs')], **dataset),
    )


def hook(prompter: dict | None = None, tune: Any = ('head',), **options) -> dict:
    """Config of the hook, with deep prompts and prompt dropout by default."""
    prompter = prompter or dict(type='DeepPrompter', num_tokens=3, dropout=0.2)
    return dict(type='PromptTuningHook', prompter=prompter, tune=tune, **options)


def tiny_config(work_dir: Path | str, *, hooks: list[dict] | None = None, **changes) -> dict:
    """Config of a run of two epochs of three iterations, as plain dicts; ``changes`` are merged in."""
    config = Config(
        dict(
            default_scope='mmpretrain',
            custom_imports=dict(imports=['vptx', 'runs'], allow_failed_imports=False),
            work_dir=str(work_dir),
            model=dict(
                type='ImageClassifier',
                data_preprocessor=dict(num_classes=3, mean=[127.5] * 3, std=[127.5] * 3, to_rgb=False),
                backbone=dict(type='PromptedBackbone', net=net()),
                head=dict(type='LinearClsHead', num_classes=3, in_channels=32, loss=dict(type='CrossEntropyLoss')),
            ),
            train_dataloader=loader(True),
            val_dataloader=loader(False, number=12),
            test_dataloader=loader(False, number=12),
            val_evaluator=dict(type='Accuracy'),
            test_evaluator=dict(type='Accuracy'),
            train_cfg=dict(by_epoch=True, max_epochs=2, val_interval=10),
            val_cfg=dict(),
            test_cfg=dict(),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.01)),
            param_scheduler=[dict(type='CosineAnnealingLR', by_epoch=True, T_max=2, convert_to_iter_based=True)],
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=1),
                checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=1),
            ),
            env_cfg=dict(mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0)),
            visualizer=dict(type='UniversalVisualizer', vis_backends=[]),
            randomness=dict(seed=0),
            log_level='WARNING',
        )
    )
    config.merge_from_dict(dict(custom_hooks=[hook()] if hooks is None else hooks, **changes))
    return config.to_dict()


_experiments = iter(range(1_000_000))


def runner(work_dir: Path | str, **changes) -> Runner:
    """A Runner of ``tiny_config``, in this process."""
    config = Config(tiny_config(work_dir, **deepcopy(changes)))
    config.experiment_name = f'tiny_{next(_experiments)}'  # MMEngine keeps loggers and hubs by this name
    return Runner.from_cfg(config)


class PowerCutError(Exception):
    """Ends a run as a power cut does."""


def interrupted(work_dir: Path, iteration: int, **changes) -> None:
    """A run of ``runner`` that ends in front of an iteration, as if the power went."""
    run = runner(work_dir, **changes)
    step = run.call_hook

    def call(name, **arguments):
        if name == 'before_train_iter' and run.iter == iteration:
            raise PowerCutError
        step(name, **arguments)

    run.call_hook = call
    with pytest.raises(PowerCutError):
        run.train()


def write_config(path: Path, work_dir: Path | str, **changes) -> Path:
    """Write ``tiny_config`` as a file."""
    Config(tiny_config(work_dir, **changes)).dump(str(path))
    return path


def write_weights(path: Path, seed: int = 0, **options) -> Path:
    """Random weights for ``net``, in timm's own layout."""
    torch.manual_seed(seed)
    made = vptx.registry.build(vptx.registry.NETS, net(**options)).model
    torch.save(made.state_dict(), path)
    return path


def environment() -> dict[str, str]:
    """For a process that must find vptx and this module."""
    found = os.pathsep.join([str(REPO), str(REPO / 'tests')])
    return {
        **os.environ,
        'PYTHONPATH': found,
        'OMP_NUM_THREADS': '1',
        'CUDA_VISIBLE_DEVICES': '',
        'HF_HUB_OFFLINE': '1',
    }


def tool(name: str, *arguments: Any, check: bool = True, seconds: float = 300) -> subprocess.CompletedProcess:
    """Run a tool of ``tools/`` as a user does, in a process of its own; its output, as text."""
    done = subprocess.run(
        [sys.executable, str(REPO / 'tools' / f'{name}.py'), *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def children(*jobs: Callable[[], Any]) -> list[int]:
    """The exit statuses of functions that are run side by side, in processes of their own."""
    running = []
    for job in jobs:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                job()
                status = 0
            except BaseException:
                traceback.print_exc()
            os._exit(status)
        running.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in running]


def newest(work_dir: Path) -> Path:
    """The checkpoint with the highest number."""
    return max(work_dir.glob('*.pth'), key=lambda path: int(path.stem.rpartition('_')[2]))


def load(path: Path) -> dict:
    """A checkpoint."""
    return vptx.files.safe_load(path)


def differences(ours: Any, theirs: Any, where: str = '') -> list[str]:
    """Where two checkpoints are not equal to the bit."""
    if type(ours) is not type(theirs):
        return [f'{where}: {type(ours)} {type(theirs)}']
    if isinstance(ours, dict):
        missing = [f'{where}.{key} is missing' for key in ours.keys() ^ theirs.keys()]
        return missing + [
            d for k in ours.keys() & theirs.keys() for d in differences(ours[k], theirs[k], f'{where}.{k}')
        ]
    if isinstance(ours, (list, tuple)):
        if len(ours) != len(theirs):
            return [f'{where}: {len(ours)} and {len(theirs)} entries']
        return [d for i, (a, b) in enumerate(zip(ours, theirs)) for d in differences(a, b, f'{where}[{i}]')]
    if isinstance(ours, torch.Tensor):
        same = ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    else:
        same = ours == theirs
    return [] if same else [f'{where}: {ours} {theirs}']
