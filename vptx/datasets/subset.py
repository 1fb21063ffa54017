"""Few-shot and percentage subsets: drawn from a seed, nested, and written down."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import floor
from pathlib import Path
from typing import Any

import numpy as np

from vptx.files import read_json, write_whole

__all__ = ['Subset']


@dataclass(frozen=True)
class Subset:
    """Some images of a split, the same share of every class.

    With one seed, 1 shot is part of 2 shots, and 10 per cent of 20: a curve over sizes adds images and swaps none.

    Attributes:
        shots: images of each class; or
        percent: of the images of each class, in (0, 100], rounded, at least one.
        seed: of the drawing.
        record: a JSON file. Where there is none, it is written: indices and names of the images drawn. Where there is
            one, these images are used, drawn by whomever, and seed and size are not asked again.
        drawn: what was drawn last, as a record has it; ``SubsetRecordHook`` writes it into a run's
            folder.

    Raises:
        ValueError: not exactly one of shots and percent, or out of range; a class with fewer images than shots; a
            record of other images.
    """

    shots: int | None = None
    percent: float | None = None
    seed: int = 0
    record: str | None = None
    drawn: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if (self.shots is None) == (self.percent is None):
            raise ValueError('a subset has either shots or percent')
        if self.shots is not None and (not isinstance(self.shots, int) or self.shots < 1):
            raise ValueError(f'shots must be a whole number of at least 1, not {self.shots!r}')
        if self.percent is not None and not 0 < self.percent <= 100:
            raise ValueError(f'percent must be in (0, 100], not {self.percent!r}')

    def choose(self, images: Sequence[tuple[str, int]]) -> list[int]:
        """The indices of the subset among ``images``, (name, label) each, in ascending order."""
        recorded = self.record and Path(self.record).is_file()
        if recorded:
            chosen = self._read(Path(str(self.record)), [name for name, _ in images])
        else:
            chosen = self._draw([label for _, label in images])
        size = {} if recorded else dict(shots=self.shots, percent=self.percent, seed=self.seed)
        self.drawn.clear()
        self.drawn.update(size, of=len(images), indices=chosen, images=[images[i][0] for i in chosen])
        if self.record and not recorded:
            self.write(self.record)
        return chosen

    def write(self, path: str | Path) -> None:
        """Write what was drawn last as a record."""
        write_whole(path, json.dumps(self.drawn, indent=1).encode())

    def _draw(self, labels: Sequence[int]) -> list[int]:
        chosen: list[int] = []
        for label in sorted(set(labels)):
            rows = [index for index, other in enumerate(labels) if other == label]
            number = self.shots or max(1, floor(len(rows) * float(self.percent or 0) / 100 + 0.5))
            if number > len(rows):
                raise ValueError(f'class {label} has {len(rows)} images, fewer than {number} shots')
            # A generator for each class: what is drawn of one does not depend on the others.
            order = np.random.default_rng([self.seed, label]).permutation(len(rows))
            chosen += [rows[i] for i in order[:number]]
        return sorted(chosen)

    @staticmethod
    def _read(record: Path, names: Sequence[str]) -> list[int]:
        facts = read_json(record)
        indices, images = (facts.get(key) if isinstance(facts, dict) else None for key in ('indices', 'images'))
        if not isinstance(indices, list) or not isinstance(images, list) or not indices:
            raise ValueError(f'{record} is no record of a subset: expected lists of indices and images')
        if len(set(map(repr, indices))) != len(indices):
            raise ValueError(f'{record} is damaged: an image is in it twice')
        if len(indices) != len(images) or not all(type(i) is int and 0 <= i < len(names) for i in indices):
            raise ValueError(f'{record} is of another data set: it numbers images that are not there')
        other = [(name, names[i]) for i, name in zip(indices, images, strict=True) if names[i] != name]
        if other:
            raise ValueError(f'{record} is of another data set: it says {other[0][0]} where there is {other[0][1]}')
        return indices
