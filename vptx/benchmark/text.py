"""How much less the text side of a training step costs than as published: a ratio of two times of the same process.

The published way runs every class as a sequence of the tower's whole context in every step
(``PromptedText`` with ``whole=True``, by open_clip's own layers).
"""

import time
from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

import torch

from vptx.registry import TEXT_TOWERS, build
from vptx.text import PromptedText

__all__ = ['NAMES', 'TextTimes', 'compare', 'markdown']

#: 48 names of one to four words, with the lengths that class names have.
_NAMES = (
    'tench, goldfish, great white shark, tiger shark, hammerhead shark, electric ray, stingray, rooster, '
    'hen, ostrich, brambling, purple finch, junco, indigo bunting, american robin, bulbul, jay, magpie, '
    'chickadee, american dipper, kite bird of prey, bald eagle, vulture, great grey owl, fire salamander, '
    'smooth newt, newt, spotted salamander, axolotl, american bullfrog, tree frog, tailed frog, '
    'loggerhead sea turtle, leatherback sea turtle, mud turtle, terrapin, box turtle, banded gecko, green '
    'iguana, carolina anole, desert grassland whiptail lizard, agama, frilled necked lizard, alligator '
    'lizard, gila monster, european green lizard, chameleon, komodo dragon'
)
NAMES: tuple[str, ...] = tuple(_NAMES.split(', '))


class TextTimes(NamedTuple):
    """Seconds of a forward and backward pass of the text side, medians over rounds.

    Attributes:
        tokens: how many word vectors are learnt.
        published: seconds, computed as in the public code.
        shared: seconds, with rows that all classes share.
        ratio: published / shared, of the same round.
    """

    tokens: int
    published: float
    shared: float
    ratio: float


def compare(
    tower: dict[str, Any], tokens: Sequence[int] = (4, 16), rounds: int = 3, names: Sequence[str] = NAMES
) -> list[TextTimes]:
    """Both ways, in turn.

    Args:
        tower: config of a text tower; ``{}`` has the shape of ViT-B/16's.
        tokens: numbers of learnt context vectors.
        rounds: how often each has a turn.
        names: of the classes.
    """
    net, found = build(TEXT_TOWERS, {'type': 'OpenCLIPText', **tower}), []
    for number in tokens:
        prompter = dict(type='ContextPrompter', num_tokens=number)
        ways = [PromptedText(net, names, prompter=prompter, whole=whole) for whole in (True, False)]
        for way in ways:
            way.start()
            way.train()
        _step(ways[1])  # the first one of a process is slower
        times = [[_step(way) for way in ways] for _ in range(rounds)]
        published, shared = (median(column) for column in zip(*times, strict=True))
        found.append(TextTimes(number, published, shared, median(a / b for a, b in times)))
    return found


def _step(text: PromptedText) -> float:
    """Seconds of the process, so that others on the machine do not count."""
    start = time.process_time()
    text().sum().backward()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.process_time() - start


def markdown(times: Sequence[TextTimes]) -> str:
    """A table."""
    lines = ['| context vectors | as published, s | shared, s | ratio |', '|---:|---:|---:|---:|']
    lines += [f'| {t.tokens} | {t.published:.2f} | {t.shared:.2f} | {t.ratio:.1f} |' for t in times]
    return '\n'.join(lines)
