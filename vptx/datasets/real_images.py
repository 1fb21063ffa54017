"""Real images that ``make real`` fetches, as tasks of one suite."""

from typing import NamedTuple

from vptx.datasets.custom import CustomImages
from vptx.registry import DATASETS

__all__ = ['REAL_IMAGES', 'RealImages', 'RealTask']


class RealTask(NamedTuple):
    """A row of the table.

    Attributes:
        classes: how many.
        sizes: images in train, val and test; a config may use some of them.
    """

    classes: int
    sizes: tuple[int, int, int]

    @property
    def suite(self) -> str:
        """``'real'``"""
        return 'real'

    @property
    def group(self) -> str:
        """All are of one."""
        return 'Real images'


#: By the name of the folder in the cache.
REAL_IMAGES = {'stamps': RealTask(7, (230, 93, 139)), 'clip_art': RealTask(10, (302, 122, 182))}


@DATASETS.register_module()
class RealImages(CustomImages):
    """Real images that ``make real`` fetches into the cache.

    Args:
        task: a name in ``REAL_IMAGES``.
        split: 'train', 'val', 'trainval' or 'test'.
        kwargs: of ``ImageList``.

    Raises:
        ValueError: of ``CustomImages``; an unknown task.
        FileNotFoundError: images that are not there yet.
    """

    def __init__(self, task: str, split: str = 'train', **kwargs) -> None:
        if task not in REAL_IMAGES:
            raise ValueError(f"there is no task '{task}'. There are: {', '.join(REAL_IMAGES)}")
        self.task = task
        super().__init__(f'real://{task}', split, **kwargs)
