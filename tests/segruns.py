"""Tiny but real segmentation: four classes, images of 32 px in ADE20K's file layout, SETR heads on a ViT of 3 layers.

Tests import this module, and so do the processes they start, by ``custom_imports``.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from mmseg.datasets import BaseSegDataset
from PIL import ExifTags, Image, ImageOps
from runs import hook
from torch import nn

import vptx
from vptx.registry import DATASETS, MODELS, NETS, build
from vptx.segmentation.datasets import Checked

CLASSES = ('dark', 'red', 'green', 'bright')
COLOURS = np.array([(20, 20, 20), (200, 30, 30), (30, 180, 30), (230, 230, 230)])


@DATASETS.register_module(force=True)
class TinySeg(Checked, BaseSegDataset):
    METAINFO = dict(classes=CLASSES, palette=COLOURS.tolist())
    HOW_TO_GET = 'Write it with segruns.write_images.'

    def __init__(self, **arguments) -> None:
        super().__init__(**{'reduce_zero_label': True, 'img_suffix': '.png', **arguments})


def write_images(folder: Path, number: int = 8, size: tuple[int, int] = (32, 32)) -> Path:
    """Four quarters of four colours in turn, noisy, for training and validation."""
    for split in ('training', 'validation'):
        places = [folder / kind / split for kind in ('images', 'annotations')]
        for place in places:
            place.mkdir(parents=True, exist_ok=True)
        for index in range(number):
            rng = np.random.default_rng(index + 100 * (split == 'training'))
            labels = rng.permutation(4).reshape(2, 2).repeat(size[0] // 2, 0).repeat(size[1] // 2, 1)
            image = COLOURS[labels] + rng.integers(0, 25, (*size, 3))
            Image.fromarray(image.astype(np.uint8)).save(places[0] / f'{index}.png')
            Image.fromarray((labels + 1).astype(np.uint8)).save(places[1] / f'{index}.png')
    return folder


def write_masks(
    folder: Path,
    labels: tuple[int, int] = (0, 1),
    suffix: str = '.jpg',
    mask_suffix: str = '.png',
    tag: int = 1,
    displayed: bool = False,
    number: int = 4,
    size: tuple[int, int] = (32, 24),
) -> Path:
    """Red rectangles on grey ground, each in another place, as ``CustomMasks`` expects them.

    Args:
        folder: to write to.
        labels: of ground and rectangle, in the masks.
        suffix: of the images.
        mask_suffix: of the masks.
        tag: of the orientation of the images.
        displayed: whether masks are drawn on images with this tag applied, not on the stored pixels.
        number: of images in each split.
        size: of the stored pixels.
    """
    exif = Image.Exif()
    if tag != 1:
        exif[ExifTags.Base.Orientation] = tag
    for split in ('train', 'val', 'test'):
        for kind in ('images', 'masks'):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        for index in range(number):
            rng = np.random.default_rng([index, len(split)])
            image = rng.integers(90, 160, (*size, 3)).astype(np.uint8)
            mask = np.full(size, labels[0], np.uint8)
            top, left = rng.integers(0, size[0] // 2), rng.integers(0, size[1] // 2)
            inside = slice(top, top + 3 * size[0] // 8), slice(left, left + 3 * size[1] // 8)
            image[inside], mask[inside] = (220, 40, 40), labels[1]
            drawn = Image.fromarray(mask)
            if displayed:
                drawn.getexif()[ExifTags.Base.Orientation] = tag
                drawn = ImageOps.exif_transpose(drawn)
            Image.fromarray(image).save(folder / 'images' / split / f'{index}{suffix}', exif=exif)
            drawn.save(folder / 'masks' / split / f'{index}{mask_suffix}', exif=Image.Exif())
    return folder


NET = dict(
    type='TimmViT', model='vit_mini_patch8_64', img_size=32, embed_dim=24, depth=3, num_heads=2, final_norm=False
)


def weights(path: Path) -> str:
    """A file of random weights for ``NET``, in timm's own layout; one that is there is left alone."""
    if not path.is_file():
        torch.manual_seed(0)
        torch.save(build(NETS, NET).model.state_dict(), path)
    return str(path)


def head(**options) -> dict:
    common = dict(type='SETRUPHead', in_channels=24, channels=8, num_classes=4, dropout_ratio=0)
    return dict(common, norm_cfg=dict(type='BN'), loss_decode=dict(type='CrossEntropyLoss'), **options)


def segmentor(**changes) -> dict:
    """Config of a segmentor of 4 classes; ``changes`` are of the model."""
    return dict(
        dict(
            type='StreamedEncoderDecoder',
            data_preprocessor=dict(
                type='SegDataPreProcessor',
                mean=[127.5] * 3,
                std=[127.5] * 3,
                bgr_to_rgb=True,
                seg_pad_val=255,
                size=(32, 32),
                test_cfg=dict(size_divisor=8),
            ),
            backbone=dict(type='PromptedBackbone', net=NET, readout=dict(maps=[1, 2])),
            decode_head=head(in_index=1, num_convs=3, up_scale=2),
            auxiliary_head=[head(in_index=0, num_convs=1, up_scale=4)],
            train_cfg=dict(),
            test_cfg=dict(mode='slide', crop_size=(32, 32), stride=(21, 21)),
        ),
        **changes,
    )


def built(seed: int = 0, **changes) -> nn.Module:
    """A segmentor with deep prompts, in eval mode, in which a class here and there wins over the others."""
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(ConfigDict(segmentor(**changes)))
    model.init_weights()
    nn.init.normal_(model.decode_head.conv_seg.weight)
    return vptx.attach(model, dict(type='DeepPrompter', num_tokens=2), tune=['decode_head']).eval()


def loader(data: Path, split: str, pipeline: list[dict], train: bool) -> dict:
    return dict(
        batch_size=4 if train else 1,
        num_workers=0,
        sampler=dict(type='InfiniteSampler' if train else 'DefaultSampler', shuffle=train),
        dataset=dict(
            type='TinySeg',
            data_root=str(data),
            data_prefix=dict(img_path=f'images/{split}', seg_map_path=f'annotations/{split}'),
            pipeline=pipeline,
        ),
    )


LOAD, LABELS, PACK = (dict(type=kind) for kind in ('LoadImageFromFile', 'LoadAnnotations', 'PackSegInputs'))


def seg_config(work_dir: Path, data: Path, hooks: list[dict] | None = None, **changes: Any) -> Config:
    """Config of a run of 6 iterations that saves after 3; ``changes`` are merged in."""
    test = [LOAD, LABELS, PACK]
    views = [[dict(type='Resize', scale_factor=scale, keep_ratio=True) for scale in (1.0, 1.25)]]
    views += [[dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0.0, 1.0)], [LABELS], [PACK]]
    evaluation = dict(
        dataloader=loader(data, 'validation', test, False),
        evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
        cfg={},
    )
    config = Config(
        dict(
            default_scope='mmseg',
            custom_imports=dict(imports=['vptx', 'vptx.segmentation', 'segruns'], allow_failed_imports=False),
            work_dir=str(work_dir),
            model=segmentor(),
            train_dataloader=loader(data, 'training', [LOAD, LABELS, dict(type='RandomFlip', prob=0.5), PACK], True),
            **{f'{split}_{part}': value for split in ('val', 'test') for part, value in evaluation.items()},
            test_pipeline=test,
            tta_pipeline=[LOAD, dict(type='TestTimeAug', transforms=views)],
            tta_model=dict(type='AccumulatingTTAModel'),
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=6, val_interval=6),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.01)),
            param_scheduler=[dict(type='PolyLR', power=0.9, by_epoch=False, end=6)],
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
                checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=3, max_keep_ckpts=1),
            ),
            env_cfg=dict(mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0)),
            visualizer=dict(type='SegLocalVisualizer', vis_backends=[]),
            log_processor=dict(by_epoch=False),
            sync_bn='torch',
            randomness=dict(seed=0),
            log_level='WARNING',
        )
    )
    config.model.backbone.net = dict(NET, weights=weights(data / 'weights.pth'))
    tuned = hook(tune=['decode_head', 'auxiliary_head'])
    config.merge_from_dict(dict(custom_hooks=[tuned] if hooks is None else hooks, **changes))
    return config


def write_seg_config(path: Path, work_dir: Path, data: Path, **changes: Any) -> Path:
    seg_config(work_dir, data, **changes).dump(str(path))
    return path
