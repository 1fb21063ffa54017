"""Scenes of figures with captions, and questions about them whose answers are words."""

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from mmcv.transforms import BaseTransform
from mmpretrain.datasets import BaseDataset

from vptx.datasets.arrays import check_split
from vptx.registry import DATASETS, TRANSFORMS

from .captions import describe
from .figures import ATTRIBUTES, SPLITS, Scene, draw_scene, paint, scene_rng

__all__ = ['QUESTIONS', 'CaptionedScenes', 'Question', 'WriteCaption']


_FIRST_GROUP = 2**40  # numbers that no scene has


class Question(NamedTuple):
    """What is asked of a scene.

    Attributes:
        attributes: of ``ATTRIBUTES``; an answer has a word of each.
        templates: sentences with a place for an answer.
    """

    attributes: tuple[str, ...]
    templates: tuple[str, ...]

    @property
    def answers(self) -> tuple[str, ...]:
        """All possible answers: every combination of the words."""
        return tuple(' '.join(words) for words in product(*(ATTRIBUTES[name] for name in self.attributes)))

    def answer(self, scene: Scene) -> int:
        """The number of the right answer."""
        return self.answers.index(' '.join(getattr(scene, name) for name in self.attributes))


_KINDS = ('photo', 'drawing', 'painting')
_A, _A_FIGURE, _FIGURES = (
    tuple(f'a {kind} of {what}' for kind in _KINDS) for what in ('a {}.', 'a {} figure.', '{} figures.')
)
QUESTIONS = dict(
    shape=Question(('shape',), _A),
    colour=Question(('colour',), _A_FIGURE),
    texture=Question(('texture',), _A_FIGURE),
    count=Question(('count',), _FIGURES),
    colour_shape=Question(('colour', 'shape'), _A),
    texture_shape=Question(('texture', 'shape'), _A),
    colour_texture_shape=Question(('colour', 'texture', 'shape'), _A),
)


@DATASETS.register_module()
class CaptionedScenes(BaseDataset):
    """Scenes of figures, each drawn when it is asked for: dict(img=(64, 64, 3) uint8 BGR, scene=Scene, ...).

    Scene i of a split is the same on every machine. ``WriteCaption`` adds a caption, another each time.

    Args:
        length: how many scenes.
        split: 'train', 'val' or 'test'; they share no scene.
        pairs: 'seen': no scene shows a pair of shape and colour, or of shape and texture, that is held out; 'unseen':
            every scene shows one of each. A training split has seen pairs only.
        seed: another seed is other scenes.
        alike: that many scenes, one after the other, share about half of their facts, drawn for them. In a batch their
            captions are the ones that are hard to tell from each other.
        kwargs: of mmpretrain's BaseDataset.

    Raises:
        ValueError: an unknown split or kind of pairs, no scenes, or a training split with unseen pairs.
    """

    def __init__(
        self, length: int, split: str = 'train', pairs: str = 'seen', seed: int = 0, alike: int = 1, **kwargs
    ) -> None:
        self.split, self.pairs = check_split(split, SPLITS), check_split(pairs, ('seen', 'unseen'))
        if split == 'train' and pairs != 'seen':
            raise ValueError("pairs='unseen' are held out of training: ask for them with split='val' or 'test'")
        if length < 1 or alike < 1:
            raise ValueError(f'CaptionedScenes is empty: length={length}, alike={alike}, and both must be at least 1')
        self.length, self.alike, self.seed = length, alike, seed
        super().__init__(ann_file='', serialize_data=False, **kwargs)

    def load_data_list(self) -> Sequence[int]:
        return range(self.length)

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """The image and the facts of a scene."""
        self.full_init()
        row = self.data_list[idx]
        rng = scene_rng(self.seed, self.split, row)
        scene = draw_scene(rng, self.pairs, **self._shared(row // self.alike))
        image = np.ascontiguousarray(paint(rng, scene)[..., ::-1])
        return dict(img=image, scene=scene, sample_idx=idx)

    def _shared(self, group: int) -> dict[str, str]:
        """The facts that the scenes of a group have in common."""
        if self.alike == 1:
            return {}
        rng = scene_rng(self.seed, self.split, _FIRST_GROUP + group)
        first = draw_scene(rng, self.pairs)
        return {name: getattr(first, name) for name in ATTRIBUTES if rng.random() < 0.5}

    def extra_repr(self) -> list[str]:
        return []


@TRANSFORMS.register_module()
class WriteCaption(BaseTransform):
    """Add a ``caption`` to a dict with a ``scene``: a sentence that is true of it, drawn with numpy's global state.

    It has no arguments. A ``scene`` is a ``Scene``, a ``caption`` is a text.
    """

    def transform(self, results: dict) -> dict:
        """``results`` with a caption."""
        results['caption'] = describe(np.random.default_rng(np.random.randint(2**31)), results['scene'])
        return results
