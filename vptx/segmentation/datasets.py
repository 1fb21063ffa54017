"""Data sets for segmentation, which say what is missing and how to get it."""

from pathlib import Path
from typing import Any

from mmseg.datasets import ADE20KDataset, BaseSegDataset, PascalContextDataset

from vptx.datasets import scenes
from vptx.registry import DATASETS

__all__ = ['ADE20K', 'MiniADE', 'PascalContext']


class Checked:
    """In front of a data set of mmseg: every image has a mask, and every mask an image, before anything runs.

    Raises:
        FileNotFoundError: says what is missing, where it was looked for, and how to get it.
        ValueError: no image at all.
    """

    HOW_TO_GET: str

    def load_data_list(self) -> list[dict]:
        name = type(self).__name__
        images, masks = (Path(self.data_prefix[key]).absolute() for key in ('img_path', 'seg_map_path'))
        for path in filter(None, (images, masks, self.ann_file)):
            if not Path(path).exists():
                raise FileNotFoundError(f'no {name}: there is no {path}. {self.HOW_TO_GET}')
        items = super().load_data_list()
        if not items:
            raise ValueError(f'{name}: no {self.img_suffix} in {images}. {self.HOW_TO_GET}')
        wanted = {Path(item['seg_map_path']).absolute() for item in items}
        found = {path.absolute() for path in masks.rglob(f'*{self.seg_map_suffix}')}
        if wanted - found:
            raise FileNotFoundError(
                f'{name}: {len(wanted - found)} of {len(items)} images have no mask, the first of them '
                f'{min(wanted - found)}. {self.HOW_TO_GET}'
            )
        if found - wanted and not self.ann_file:
            raise FileNotFoundError(
                f'{name}: {len(found - wanted)} masks have no image, the first of them {min(found - wanted)}. '
                f'{self.HOW_TO_GET}'
            )
        return items

    def get_data_info(self, idx: int) -> dict[str, Any]:
        return dict(super().get_data_info(idx), num_classes=len(self.metainfo['classes']))


@DATASETS.register_module()
class ADE20K(Checked, ADE20KDataset):
    """ADE20K, 150 classes, 20,210 images to train on and 2,000 to validate: Zhou et al., CVPR 2017."""

    HOW_TO_GET = (
        'Download http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip and unpack it in data/ade, so '
        'that images/ and annotations/, each with training/ and validation/, lie in data/ade/ADEChallengeData2016; or '
        'give its place as data_root'
    )


@DATASETS.register_module()
class PascalContext(Checked, PascalContextDataset):
    """PASCAL Context, 59 classes and background, 4,998 images to train on and 5,105 to validate: Mottaghi et al., CVPR
    2014."""

    HOW_TO_GET = (
        'Download PASCAL VOC 2010 and the annotations trainval_merged.json of PASCAL Context, and convert these with '
        "mmsegmentation's tools/dataset_converters/pascal_context.py, so that JPEGImages, SegmentationClassContext and "
        'ImageSets/SegmentationContext lie in data/VOCdevkit/VOC2010; or give its place as data_root'
    )


@DATASETS.register_module()
class MiniADE(Checked, BaseSegDataset):
    """Scenes in the file layout of ADE20K (:mod:`vptx.datasets.scenes`): 0 in a mask is no class, 1 the first."""

    METAINFO = dict(classes=scenes.CLASSES, palette=scenes.PALETTE)
    HOW_TO_GET = 'Write it, in half a minute: python tools/make_mini_ade.py'

    def __init__(self, **arguments) -> None:
        super().__init__(**{'reduce_zero_label': True, **arguments})
