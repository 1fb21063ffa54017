"""Continual learning: the classes of a data set come in tasks, one after the other, and no image comes back.

While task t is learnt, its images and its classes alone count in the loss. After it, the model is tested on all tasks
so far, among all classes so far, and does not know which task an image is from. With A[t, i] the accuracy on task i
then,

    average accuracy = mean_i A[T-1, i],    forgetting = mean_{i < T-1} (max_t A[t, i] - A[T-1, i])

The upper bound learns all tasks at once, for as many epochs as they take together.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vptx.attach import attach, find_prompted_network
from vptx.datasets.mini.mini_vtab import MiniVTAB
from vptx.registry import NETS, build

__all__ = [
    'METHODS',
    'Images',
    'average_accuracy',
    'classifier',
    'forgetting',
    'learn',
    'learn_jointly',
    'read',
    'split_classes',
]


#: ``vptx continual`` chooses the rate of AdamW on validation images.
METHODS: dict[str, dict[str, Any]] = {
    'linear': dict(),
    'vpt_deep': dict(prompter=dict(type='DeepPrompter', num_tokens=10)),
    'l2p': dict(prompter=dict(type='L2P'), readout='prompts'),
    'dual_prompt': dict(prompter=dict(type='DualPrompt', tasks=5)),
    'coda_prompt': dict(prompter=dict(type='CODAPrompt', components=20, tasks=5)),
    'vpt_deep_joint': dict(prompter=dict(type='DeepPrompter', num_tokens=10), joint=True),
}


class Images(NamedTuple):
    """Images and their labels.

    Attributes:
        images: (N, 3, H, W), as the network sees them.
        labels: (N,).
    """

    images: Tensor
    labels: Tensor

    def of(self, classes: Sequence[int]) -> 'Images':
        """Those of some classes."""
        rows = torch.isin(self.labels, torch.tensor(list(classes), device=self.labels.device))
        return Images(self.images[rows], self.labels[rows])


class _Classifier(nn.Module):
    def __init__(self, backbone: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.backbone, self.head = backbone, nn.Linear(width, classes)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.backbone(image))


def classifier(classes: int, weights: str | Path, method: Mapping[str, Any]) -> nn.Module:
    """ViT-mini with one head for all classes, prompted by one of ``METHODS``."""
    net: Any = build(NETS, dict(type='TimmViT', model='vit_mini_patch8_64', weights=str(weights)))
    model = _Classifier(net.model, net.geometry.widths[-1], classes)
    return attach(model, method.get('prompter'), ['head'], readout=method.get('readout', 'cls'))


def read(task: str, split: str) -> Images:
    """A task of Mini-VTAB, in the pixels of ViT-mini."""
    data: Any = MiniVTAB(task, split)
    data.full_init()
    pixels = torch.from_numpy(data.images).permute(0, 3, 1, 2).float()
    return Images(pixels / 127.5 - 1, torch.from_numpy(data.labels).long())


def split_classes(classes: int, tasks: int) -> list[range]:
    """The classes of each task, in their order.

    Raises:
        ValueError: tasks that do not divide the classes.
    """
    if not 0 < tasks <= classes or classes % tasks:
        raise ValueError(f'{classes} classes cannot be split into {tasks} tasks of as many')
    share = classes // tasks
    return [range(first, first + share) for first in range(0, classes, share)]


def average_accuracy(found: Tensor) -> float:
    """Of (T, T), accuracy after task t on task i."""
    return found[-1].mean().item()


def forgetting(found: Tensor) -> float:
    """Of (T, T), accuracy after task t on task i; 0 of one task."""
    if len(found) < 2:
        return 0.0
    return (found[:-1, :-1].max(0).values - found[-1, :-1]).mean().item()


def learn(model: nn.Module, train: Images, test: Images, tasks: Sequence[Sequence[int]], **options: float) -> Tensor:
    """One task after the other.

    Args:
        model: prompted, images -> logits of all classes (B, C).
        train, test: of all tasks.
        tasks: the classes of each.
        **options: of ``train_on``.

    Returns:
        (T, T), accuracy after task t on task i; 0 for i > t.
    """
    prompted, found = find_prompted_network(model), torch.zeros(len(tasks), len(tasks))
    for number, classes in enumerate(tasks):
        if prompted is not None:
            prompted.prompter.begin_task(number)
        train_on(model, train.of(classes), classes, **options)  # type: ignore[arg-type]
        seen = [label for part in tasks[: number + 1] for label in part]
        found[number, : number + 1] = torch.tensor(
            [accuracy(model, test.of(part), seen) for part in tasks[: number + 1]]
        )
    return found


def learn_jointly(
    model: nn.Module, train: Images, test: Images, tasks: Sequence[Sequence[int]], epochs: int, **options: float
) -> Tensor:
    """All tasks at once, for as many epochs as they take one after the other: (1, T), accuracy on each."""
    classes = [label for part in tasks for label in part]
    train_on(model, train, classes, epochs=epochs, **options)  # type: ignore[arg-type]
    return torch.tensor([[accuracy(model, test.of(part), classes) for part in tasks]])


def train_on(
    model: nn.Module, data: Images, classes: Sequence[int], epochs: int = 5, lr: float = 0.01, batch: int = 20
) -> None:
    """Epochs of AdamW with a cosine, on the logits of these classes, with the prompter's terms of the loss."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=1e-4)
    steps = epochs * -(-len(data.labels) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    others = torch.ones(int(model(data.images[:1]).shape[-1]), dtype=torch.bool, device=data.images.device)
    others[list(classes)] = False
    prompted = find_prompted_network(model)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(data.labels)).split(batch):
            logits = model(data.images[rows]).masked_fill(others, -torch.inf)
            loss = F.cross_entropy(logits, data.labels[rows])
            for term in prompted.prompter.loss().values() if prompted is not None else ():
                loss = loss + term
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


@torch.no_grad()
def accuracy(model: nn.Module, data: Images, classes: Sequence[int], batch: int = 100) -> float:
    """Per cent, among these classes."""
    model.eval()
    among = torch.tensor(list(classes), device=data.images.device)
    found = torch.cat([among[model(part)[:, among].argmax(1)] for part in data.images.split(batch)])
    return 100 * (found == data.labels).float().mean().item()
