"""Segmentation of images of five bands, from files to predictions, by a Runner."""

import numpy as np
import pytest
import tifffile
import torch
from mmengine.runner import Runner
from PIL import Image
from runs import hook
from segruns import LABELS, PACK, seg_config, write_images

import vptx
from vptx.attach import find_prompted_network
from vptx.segmentation import AnyBandsPreProcessor

BANDS = 5


def write(folder) -> None:
    """Two classes that the last band alone distinguishes."""
    for split in ('train', 'val', 'test'):
        images, masks = (folder / kind / split for kind in ('images', 'masks'))
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        for index in range(8):
            rng = np.random.default_rng([index, len(split)])
            labels = rng.integers(0, 2, (2, 2)).repeat(16, 0).repeat(16, 1)
            image = rng.integers(0, 2000, (32, 32, BANDS)).astype(np.uint16)
            image[..., -1] += (20000 * labels).astype(np.uint16)
            tifffile.imwrite(images / f'{index}.tif', image, photometric='minisblack', planarconfig='contig')
            Image.fromarray(labels.astype(np.uint8)).save(masks / f'{index}.png')


def test_a_run_on_five_bands(tmp_path):
    write(tmp_path / 'bands')
    write_images(tmp_path / 'data')  # where the weights of three channels are
    load = dict(type='LoadBands', channels=BANDS)
    config = seg_config(tmp_path / 'work', tmp_path / 'data', hooks=[hook(tune=['decode_head', 'auxiliary_head'])])
    for split in ('train', 'val', 'test'):
        config[f'{split}_dataloader'].dataset = dict(
            type='CustomMasks',
            data_root=str(tmp_path / 'bands'),
            split=split,
            classes=('ground', 'thing'),
            pipeline=[load, LABELS, PACK],
        )
    config.custom_imports.imports.append('vptx.datasets')
    model = config.model
    model.backbone.net.in_chans = BANDS
    model.data_preprocessor.update(mean=[5000.0] * BANDS, std=[5000.0] * BANDS, bgr_to_rgb=False)
    for part in (model.decode_head, *model.auxiliary_head):
        part.num_classes = 2
    config.train_cfg.max_iters = config.train_cfg.val_interval = 30
    config.param_scheduler[0].end = 30
    runner = Runner.from_cfg(config)
    runner.train()
    assert find_prompted_network(runner.model).net.geometry.channels == BANDS
    assert runner.test()['mIoU'] > 70
    again = vptx.init_model(config, tmp_path / 'work' / 'prompt.safetensors')
    for name, tensor in runner.model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_mean_and_std_of_other_numbers():
    with pytest.raises(ValueError, match=r'data_preprocessor\.mean has 5 values and std 4'):
        AnyBandsPreProcessor(mean=[0.0] * 5, std=[1.0] * 4)
