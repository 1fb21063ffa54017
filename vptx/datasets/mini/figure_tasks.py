"""Classification tasks whose class names are words that CLIP-mini knows: a texture and a shape, in three styles.

    figures    as in pre-training: photographs, drawings and paintings
    mosaic     of tiles: shapes are coarse, fine textures are lost
    relief     grey and lit from a corner: edges alone

The 20 classes are the same in all three. An image shows one figure, in any colour that is not held out with its shape.
CLIP-mini never saw ten of the pairs together (``is_held_out``). Both halves of the
list, base and new classes, have five of these, and each texture twice; no shape is in both.
"""

from functools import cache

import numpy as np
from numpy.random import default_rng

from vptx.datasets.arrays import ArrayDataset, check_split
from vptx.datasets.subset import Subset
from vptx.registry import DATASETS

from .figures import ATTRIBUTES, NEW_STYLES, SPLITS, draw_scene, is_held_out, paint

__all__ = ['FIGURE_CLASSES', 'FigureTask']

TASKS = ('figures', *NEW_STYLES)
_PAIRS = tuple(
    (texture, shape)
    for s, shape in enumerate(ATTRIBUTES['shape'])
    for t, texture in enumerate(ATTRIBUTES['texture'])
    if (t + s) % 5 in (0, 3)
)
_PARTS = dict(all=slice(None), base=slice(10), new=slice(10, None))
FIGURE_CLASSES = tuple(f'{texture} {shape}' for texture, shape in _PAIRS)


@cache
def _draw_all(task: str, split: str, number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 64, 64, 3) and labels (n,) of a split; a grid of runs in one process draws them once."""
    style = dict(style=task) if task in NEW_STYLES else {}
    images, labels = [], np.arange(number) % len(_PAIRS)
    for i, label in enumerate(labels):
        texture, shape = _PAIRS[label]
        # Numbers from 3 are no split of CaptionedScenes, so that no scene is drawn from the same random numbers.
        rng = default_rng([seed, len(SPLITS) + TASKS.index(task), SPLITS.index(split), i])
        while True:
            scene = draw_scene(rng, shape=shape, texture=texture, count='one', **style)
            if not is_held_out(scene.shape, scene.colour):
                break
        images.append(paint(rng, scene))
    return np.stack(images), labels


@DATASETS.register_module()
class FigureTask(ArrayDataset):
    """Which texture and shape? Twenty classes, which take turns.

    Args:
        task: 'figures', 'mosaic' or 'relief'.
        split: 'train' (640 images), 'val' (200), 'trainval' (840), 'test' (1,000).
        part: 'all', or the images of the 'base' or of the 'new' classes, the first and the second half. Labels of new
            classes begin at 0 again.
        subset: as of ``ImageList``: some of the images of the split; None for all. The
            images drawn of a class do not depend on ``part``.
        seed: of all that is drawn at random; another seed is other images.
        kwargs: of mmpretrain's BaseDataset.

    Raises:
        ValueError: an unknown task, split or part.
    """

    METAINFO = dict(classes=FIGURE_CLASSES)
    SIZES = dict(train=640, val=200, test=1_000)

    def __init__(
        self,
        task: str = 'figures',
        split: str = 'train',
        part: str = 'all',
        subset: Subset | dict | None = None,
        seed: int = 0,
        **kwargs,
    ) -> None:
        if task not in TASKS:
            raise ValueError(f"there is no task '{task}'. There are: {', '.join(TASKS)}")
        self.task, self.split, self.seed = task, check_split(split, (*SPLITS, 'trainval')), seed
        self.subset = Subset(**subset) if isinstance(subset, dict) else subset
        if part not in _PARTS:
            raise ValueError(f'part must be one of {", ".join(map(repr, _PARTS))}, got {part!r}')
        self.part = part
        if not kwargs.keys() & {'metainfo', 'classes'}:
            kwargs['classes'] = FIGURE_CLASSES[_PARTS[part]]
        super().__init__(**kwargs)

    def load_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        splits = ('train', 'val') if self.split == 'trainval' else (self.split,)
        parts = [_draw_all(self.task, split, self.SIZES[split], self.seed) for split in splits]
        images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        if self.subset:
            chosen = self.subset.choose([(f'{self.split}_{i}', int(label)) for i, label in enumerate(labels)])
            images, labels = images[chosen], labels[chosen]
        wanted = np.arange(len(_PAIRS))[_PARTS[self.part]]
        rows = np.isin(labels, wanted)
        return images[rows], labels[rows] - wanted[0]
