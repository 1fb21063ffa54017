"""Label mappings that are estimated: when, from what, and what came out.

A (K, C) is how often the network takes a training image of class t for a source class s. It is counted in a pass over
the training images, or from what the network says of them anyway while prompts are trained on them.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from mmengine.dataset import DefaultSampler
from mmengine.dist import all_reduce, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import Tensor, nn

from vptx.attach import find_prompted_network
from vptx.hooks.one_pass import one_pass, read_labels
from vptx.mappings.base import CountedMapping, LabelMapping
from vptx.prompted import PromptedNetwork
from vptx.registry import HOOKS
from vptx.trainable import unwrap_model

__all__ = ['LabelMappingHook', 'estimate_mapping', 'mapping_table', 'strongest_sources']


def estimate_mapping(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Estimate the label mapping of ``model`` in one pass over ``batches``, in place.

        vptx.estimate_mapping(model, train_loader)

    Args:
        model: A model to which ``vptx.attach`` has given a mapping.
        batches: Pairs of images (B, 3, H, W), normalised as the network expects them, and labels. Labels are class
            numbers (B,), or the share of each class in each image (B, C).

    Raises:
        ValueError: The model has no mapping that is estimated, or there are no batches.
    """
    prompted = find_prompted_network(model)
    if prompted is None or not isinstance(prompted.mapping, CountedMapping):
        raise ValueError(f'{type(model).__name__} has no label mapping that is estimated from images')
    prompted.mapping.estimate(_count(prompted, batches))


@torch.no_grad()
def _count(prompted: PromptedNetwork, batches: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """A (K, C) over all ranks, in eval mode."""
    was_training, mapping, counts = prompted.training, prompted.mapping, _nothing(prompted)
    prompted.eval()
    for images, labels in batches:
        counts += mapping.count(prompted.forward_unmapped(images.to(counts.device)), _targets(labels, mapping))
    prompted.train(was_training)
    all_reduce(counts)  # a rank without images, of a few among many ranks, takes part with zeros
    if not counts.any():
        raise ValueError('a label mapping is estimated from training images, and there are none')
    return counts


def _nothing(prompted: PromptedNetwork) -> Tensor:
    """A (K, C) before the first image."""
    device = next(prompted.parameters()).device
    return torch.zeros(prompted.net.geometry.classes, prompted.mapping.num_classes, device=device)


def _targets(labels: Tensor, mapping: CountedMapping) -> Tensor:
    """(B,) -> (B, C); (B, C) as it is."""
    return labels if labels.dim() > 1 else nn.functional.one_hot(labels.long(), mapping.num_classes)


def mapping_table(
    mapping: LabelMapping, classes: Sequence[str] = (), sources: Sequence[str] = (), most: int = 20
) -> str:
    """Target class <- source classes, the strongest three with their weights; of ``most`` target classes.

    Args:
        mapping: one that is ready.
        classes: names of the C, or none.
        sources: names of the K, or none.
        most: how many lines.
    """
    lines = []
    for target, found, more in strongest_sources(mapping, most):
        names = [f'{sources[s] if sources else s}' + ('' if weight == 1 else f' ({weight:.2f})') for s, weight in found]
        lines.append(f'  {classes[target] if classes else target} <- {", ".join(names)}{", ..." if more else ""}')
    left = mapping.num_classes - most
    return '\n'.join(lines + [f'  and {left} more'] * (left > 0))


def strongest_sources(mapping: LabelMapping, most: int = 20) -> list[tuple[int, list[tuple[int, float]], bool]]:
    """Of the first ``most`` target classes: its index, up to three source classes with their weights, the strongest
    first, and whether there are more of them."""
    matrix = mapping.matrix()[:, :most]
    strongest = matrix.sort(dim=0, descending=True, stable=True)
    found = []
    for target in range(matrix.shape[1]):
        three = zip(strongest.indices[:3, target].tolist(), strongest.values[:3, target].tolist())
        kept = [(source, weight) for source, weight in three if weight]
        found.append((target, kept, int((matrix[:, target] != 0).sum()) > len(kept)))
    return found


@HOOKS.register_module()
class LabelMappingHook(Hook):
    """Estimates a label mapping before training, and again in each epoch if it needs to be.

    Counts are summed over all ranks, every image once, so any number of them gives the same mapping. The last epoch is
    not followed by an estimate: prompts leave the run with the mapping that they were trained for.

    ``PromptTuningHook`` registers it.

    Note:
        Comes after RandomStreamsHook, so that a resumed run counts what it would have counted.
    """

    priority = 'NORMAL'

    def before_train(self, runner: Runner) -> None:
        prompted = find_prompted_network(unwrap_model(runner.model))
        assert prompted is not None  # the hook that registers this one has attached it
        self._network = prompted
        self._handles: list = []
        mapping = self._mapping
        if mapping is None:
            self._log(runner)
            return
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise ValueError(
                f'{type(mapping).__name__} is estimated once an epoch: train_cfg=dict(by_epoch=True, max_epochs=...), '
                f'not a {type(runner.train_loop).__name__}'
            )
        if not mapping.ready:
            self._estimate(runner, _count(self._network, self._pass(runner)))

    @property
    def _mapping(self) -> CountedMapping | None:
        return self._network.mapping if isinstance(self._network.mapping, CountedMapping) else None

    def before_train_epoch(self, runner: Runner) -> None:
        mapping = self._mapping
        if mapping is None or not mapping.every:
            return
        if mapping.online:
            self._counts, self._seen = _nothing(self._network), 0
            # What the network sees and says: batch augmentations mix images and labels in the preprocessor.
            preprocess = unwrap_model(runner.model).data_preprocessor
            self._handles = [
                preprocess.register_forward_hook(self._hear_labels),
                mapping.register_forward_pre_hook(self._hear_logits),
            ]
        elif runner.epoch and runner.epoch % mapping.every == 0:
            self._estimate(runner, _count(self._network, self._pass(runner)))

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
        outputs: dict | None = None,
    ) -> None:
        if self._handles:
            new = self._are_new(runner.train_dataloader.sampler, len(self._logits))
            self._counts += self._mapping.count(self._logits[new], self._labels[new])
            self._seen += len(new)

    def after_train_epoch(self, runner: Runner) -> None:
        if not self._handles:
            return
        for handle in self._handles:
            handle.remove()
        self._handles = []
        done = runner.epoch + 1
        if done % self._mapping.every == 0 and done < runner.max_epochs:
            all_reduce(self._counts)
            self._estimate(runner, self._counts)

    def _are_new(self, sampler: Any, batch: int) -> Tensor:
        """Which images of a batch (B,) are not there for the second time: MMEngine's sampler repeats the first of an
        epoch after the last until each rank has as many."""
        if not isinstance(sampler, DefaultSampler):
            return torch.ones(batch, dtype=torch.bool)
        place = get_rank() + get_world_size() * torch.arange(self._seen, self._seen + batch)
        return place < len(sampler.dataset)

    def _hear_labels(self, preprocessor: nn.Module, inputs: tuple, batch: dict) -> None:
        self._labels = read_labels(batch, self._mapping.num_classes)

    def _hear_logits(self, mapping: nn.Module, inputs: tuple[Tensor]) -> None:
        self._logits = inputs[0].detach()

    def _pass(self, runner: Runner) -> Iterable[tuple[Tensor, Tensor]]:
        return one_pass(runner, 'train', self._mapping.num_classes)

    def _estimate(self, runner: Runner, counts: Tensor) -> None:
        mapping = self._mapping
        before = mapping.matrix().argmax(0) if mapping.ready else None
        mapping.estimate(counts)
        changed = '' if before is None else f', {(before != mapping.matrix().argmax(0)).sum()} changed'
        self._log(runner, changed)

    def _log(self, runner: Runner, changed: str = '') -> None:
        mapping = self._network.mapping
        classes = getattr(runner.train_dataloader.dataset, 'metainfo', {}).get('classes') or ()
        table = mapping_table(mapping, classes, self._network.net.class_names)
        runner.logger.info(f'{type(mapping).__name__} of {mapping.num_classes} classes{changed}\n{table}')
