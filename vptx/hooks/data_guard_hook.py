"""Stops a run whose data are not what its model and its config ask for, before the first iteration."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmengine.dataset import InfiniteSampler
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import Runner
from torch import nn

from vptx.attach import find_prompted_network
from vptx.checkpoint import check_classes
from vptx.features.images import FEATURES_KEY
from vptx.hooks.channel_checks import check_images, check_preprocessor
from vptx.image_files import shown
from vptx.registry import HOOKS
from vptx.trainable import unwrap_model

__all__ = ['DataGuardHook', 'check_config', 'check_files']


@HOOKS.register_module()
class DataGuardHook(Hook):
    """Before a run: is there data, are its files there, is it of the classes that the head has and that training has,
    and can the metrics and batch statistics be computed, and have data preprocessor and network the same channels? In
    each iteration: have the images of a batch one size, and as many channels as the network?

    Files that the test of the same config would miss are a warning while training: no test may follow.

    ``PromptTuningHook`` registers it.

    Raises:
        ValueError: names the data set and what is wrong with it, or the setting to change.
    """

    priority = 'NORMAL'

    def before_train(self, runner: Runner) -> None:
        check_preprocessor(unwrap_model(runner.model))
        loaders = dict(train=runner.train_dataloader)
        if runner.val_loop is not None:
            loaders['val'] = runner.val_dataloader
        for loader in loaders.values():
            _check_data(runner, loader.dataset)
        if hasattr(runner.train_dataloader.dataset, 'check_learnable'):  # masks: is there more than one class in them?
            runner.train_dataloader.dataset.check_learnable()
        if 'val' in loaders:
            _check_metrics(runner, 'val')
        _check_metrics(runner, 'test')
        _check_last_batch(runner)
        check_files({split: loader.dataset for split, loader in loaders.items()})
        _warn_of_test(runner)

    def before_val(self, runner: Runner) -> None:
        _check_data(runner, runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        check_preprocessor(unwrap_model(runner.model))
        _check_data(runner, runner.test_dataloader.dataset)
        _check_metrics(runner, 'test')
        check_files(dict(test=runner.test_dataloader.dataset))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        _check_batch(runner, data_batch)

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        _check_batch(runner, data_batch)

    def before_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        _check_batch(runner, data_batch)


def _describe(dataset: Any) -> str:
    return f'{type(dataset).__name__} {getattr(dataset, "data_root", "") or getattr(dataset, "ann_file", "")}'.strip()


def _classes(dataset: Any) -> tuple[str, ...]:
    return tuple(getattr(dataset, 'metainfo', {}).get('classes') or ())


def _check_data(runner: Runner, dataset: Any) -> None:
    """Refuse a data set that is empty, has one class, or has other classes than the model."""
    where = _describe(dataset)
    if len(dataset) == 0:
        raise ValueError(f'the data set {where} is empty')
    classes = _classes(dataset)
    model = unwrap_model(runner.model)
    check_classes(model, classes, where)
    head = getattr(model, 'head', None)
    from mmpretrain.models.heads import ClsHead  # not on `import vptx`: it takes seconds

    if len(classes) == 1 and isinstance(head, ClsHead) and not getattr(head.loss_module, 'use_sigmoid', False):
        raise ValueError(
            f'the data set {where} has one class ({classes[0]}): there is nothing to tell apart, and any model scores '
            '100 %. Add a class, such as images of anything else'
        )


def _check_metrics(runner: Runner, split: str) -> None:
    """Refuse a top-k accuracy of more classes than there are."""
    loop = getattr(runner, f'_{split}_loop')
    evaluator = getattr(loop, 'evaluator', None) or getattr(runner, f'_{split}_evaluator')
    metrics = getattr(evaluator, 'metrics', evaluator)
    classes = _classes(runner.train_dataloader.dataset) if split == 'val' else ()
    model = unwrap_model(runner.model)
    prompted = find_prompted_network(model)
    number = len(classes) or getattr(getattr(model, 'head', None), 'num_classes', None)
    number = number or (prompted.mapping.num_classes if prompted is not None else None)
    from mmpretrain.evaluation import Accuracy

    for metric in metrics if isinstance(metrics, Sequence) else [metrics]:
        given: Any = metric if isinstance(metric, dict) else dict(type=type(metric), topk=getattr(metric, 'topk', 1))
        topk = given.get('topk', 1)
        ranks = list(topk) if isinstance(topk, Sequence) else [topk]
        # Others, such as RetrievalRecall, count images.
        if given.get('type') in (Accuracy, 'Accuracy') and number and max(ranks, default=0) > number:
            raise ValueError(
                f'{split}_evaluator: Accuracy asks for the best {max(ranks)} classes, and there are {number}: set '
                f'topk={tuple(k for k in ranks if k <= number) or (1,)}'
            )


def _check_last_batch(runner: Runner) -> None:
    """Refuse a batch of one image where a batch norm of vectors trains, which has no variance then."""
    loader: Any = runner.train_dataloader
    if isinstance(loader.sampler, InfiniteSampler) or not loader.batch_size:
        return
    images = len(loader.sampler)
    last = images % loader.batch_size
    if loader.batch_size > 1 and (last != 1 or loader.drop_last):
        return
    for name, module in unwrap_model(runner.model).named_modules():
        parameters = list(module.parameters())
        if isinstance(module, nn.BatchNorm1d) and parameters and all(p.requires_grad for p in parameters):
            raise ValueError(
                f'{name} is a batch norm that trains, and {images} images in batches of {loader.batch_size} leave a '
                'batch of one image, which has no variance: set train_dataloader.drop_last=True, or another batch_size'
            )


def _check_batch(runner: Runner, data_batch: Any) -> None:
    inputs = data_batch.get('inputs') if isinstance(data_batch, dict) else None
    if not isinstance(inputs, Sequence) or not all(torch.is_tensor(x) for x in inputs):
        return
    model = unwrap_model(runner.model)
    samples = data_batch.get('data_samples') or [None] * len(inputs)
    names = [shown(getattr(sample, 'img_path', None) or 'unnamed') for sample in samples]
    if not any(sample is not None and FEATURES_KEY in sample for sample in samples):
        check_images(model, inputs, names)
    if isinstance(getattr(model, 'head', None), nn.Module):
        from vptx.datasets.pipeline import check_sizes

        check_sizes(inputs, names)


# Files


def _unreadable(dataset: Any) -> Iterator[str]:
    """What is wrong with the files of a data set: missing ones and empty ones."""
    for part in getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', dataset)]:  # of a wrapper
        if part is not dataset:
            yield from _unreadable(part)
        elif _reads_files(dataset):
            for index in range(len(dataset)):
                path = dataset.get_data_info(index).get('img_path')
                if path and '://' not in str(path) and (fault := _fault(Path(path))):
                    yield f'{shown(path)} cannot be read as an image: {fault}'


def _reads_files(dataset: Any) -> bool:
    from vptx.datasets import ImageList

    steps = getattr(getattr(dataset, 'pipeline', None), 'transforms', ())
    loaders = [step for step in steps if isinstance(step, LoadImageFromFile)]
    if any(loader.backend_args or loader.file_client_args or loader.ignore_empty for loader in loaders):
        return False  # not of this machine, or meant to be passed over
    return hasattr(dataset, 'get_data_info') and (bool(loaders) or isinstance(dataset, ImageList))


def _fault(path: Path) -> str:
    try:
        return '' if path.stat().st_size else 'the file is empty'
    except OSError as error:
        hint = ', and its name has backslashes: write / between folders' if '\\' in path.name else ''
        return f'{"there is no such file" if isinstance(error, FileNotFoundError) else error}{hint}'


def check_files(datasets: dict[str, Any]) -> None:
    """Look for every image file of some data sets, without opening any.

    Args:
        datasets: by the names of their splits. Data sets without files, and those of a remote backend, pass.

    Raises:
        ValueError: names the first missing files of each split, and how many there are.
    """
    faults = []
    for split, dataset in datasets.items():
        found = list(_unreadable(dataset))
        if found:
            more = f' and {len(found) - 3} more' if len(found) > 3 else ''
            faults.append(f'{split}, {len(found)} of {len(dataset)} images: {"; ".join(found[:3])}{more}')
    if faults:
        raise ValueError('. '.join(faults))


#: Transforms that read a file.
_LOADERS = ('LoadImageFromFile', 'LoadDeepImage', 'LoadBands')


def _of_files(loader: Any) -> Any:
    """The data set that a data loader's config describes; None where it reads no files, or has been built already."""
    if not _is_described(loader) or not any(name in str(loader['dataset'].get('pipeline')) for name in _LOADERS):
        return None
    return DATASETS.build(loader['dataset'])


def _is_described(loader: Any) -> bool:
    """Whether it is the config of a data loader with that of a data set."""
    return isinstance(loader, dict) and isinstance(loader.get('dataset'), dict)


def check_config(config: Config) -> None:
    """Build the data sets of a config, and look for every image file that they name, before anything runs.

    Raises:
        FileNotFoundError: a split that is not there.
        ValueError: of ``check_files``, and of the data sets.
    """
    loaders = {split: config.get(f'{split}_dataloader') for split in ('train', 'val', 'test')}
    with DefaultScope.overwrite_default_scope(config.get('default_scope', 'mmpretrain')):
        found = {split: DATASETS.build(loader['dataset']) for split, loader in loaders.items() if _is_described(loader)}
    check_files(found)


def _warn_of_test(runner: Runner) -> None:
    """Say now what a test after this training would end with."""
    try:
        dataset = _of_files(runner._test_dataloader)
        if dataset is not None:
            check_files(dict(test=dataset))
    except (FileNotFoundError, ValueError) as error:
        runner.logger.warning(f'a test after this training would fail: {error}')
