"""An image and random crops of it, for test-time prompt tuning."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any
from zlib import crc32

import numpy as np
from mmcv.transforms import BaseTransform, Compose, RandomFlip

from vptx.registry import TRANSFORMS

__all__ = ['RandomViews', 'with_views']


@TRANSFORMS.register_module()
class RandomViews(BaseTransform):
    """A loaded image -> lists over views: the image as it is prepared for a test, and random crops, some flipped.

    Crops have between 8 % and all of the image's area, sides from 3 : 4 to 4 : 3, and are resized to the size of the
    prepared image. They depend on the pixels and the seed alone: in any order, the same image gets the same views.

    Args:
        prepare: transforms of the test between loading and packing.
        pack: the last transform, such as ``dict(type='PackInputs')``.
        number: how many views there are, the image itself included.
        seed: of the crops.
    """

    def __init__(self, prepare: Sequence[dict], pack: dict, number: int = 64, seed: int = 0) -> None:
        if not isinstance(number, int) or number < 1:
            raise ValueError(f'number must be a whole number of views, at least 1, not {number!r}')
        self.prepare, self.pack = Compose(list(prepare)), TRANSFORMS.build(pack)
        self.number, self.seed = number, seed

    def transform(self, results: dict) -> dict:
        from mmpretrain.datasets.transforms import RandomResizedCrop  # not on `import vptx`: it takes seconds

        image: Any = results['img']
        first: Any = self.prepare(deepcopy(results))
        crop = Compose([RandomResizedCrop(tuple(first['img'].shape[:2])), RandomFlip(prob=0.5)])
        state = np.random.get_state()
        np.random.seed([self.seed, crc32(np.ascontiguousarray(image).tobytes())])
        try:
            views = [self.pack(view) for view in (first, *(crop(deepcopy(results)) for _ in range(self.number - 1)))]
        finally:
            np.random.set_state(state)
        return {key: [view[key] for view in views] for key in views[0]}


def with_views(pipeline: Sequence[dict], number: int = 64, seed: int = 0) -> list[dict]:
    """The pipeline of a test, with views of each image.

    Args:
        pipeline: loads, prepares, and packs in its last step.
        number, seed: of ``RandomViews``.

    Raises:
        ValueError: a pipeline that ends in no packing.
    """
    if not pipeline or not str(pipeline[-1].get('type')).rpartition('.')[2].startswith('Pack'):
        raise ValueError("views are made of a test pipeline that ends in dict(type='PackInputs')")
    steps = list(pipeline[:-1])
    loads = [i for i, step in enumerate(steps) if str(step.get('type')).rpartition('.')[2].startswith('Load')]
    begin = loads[-1] + 1 if loads else 0
    views = dict(type='RandomViews', prepare=steps[begin:], pack=pipeline[-1], number=number, seed=seed)
    return [*steps[:begin], views]
