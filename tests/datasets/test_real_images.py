"""Real images as tasks of one suite, and configs pointed at them; what ``make real`` fetches is not needed."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vptx.configs import read_config
from vptx.datasets import TASKS, RealImages, set_task
from vptx.datasets.real_images import REAL_IMAGES
from vptx.studies.protocol import studies

REAL = Path(__file__).parents[2] / 'configs/real'


def test_images_of_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('VPTX_CACHE', str(tmp_path))
    for split, images in dict(train=3, val=2, test=1).items():
        for label in ('birds', 'fruit'):
            folder = tmp_path / 'real/clip_art' / split / label
            folder.mkdir(parents=True)
            for i in range(images):
                Image.fromarray(np.full((8, 8, 3), i, np.uint8)).save(folder / f'{i}.png')
    found = {split: RealImages('clip_art', split) for split in ('train', 'val', 'trainval', 'test')}
    assert {split: len(images) for split, images in found.items()} == dict(train=6, val=4, trainval=10, test=2)
    assert found['test'].metainfo['classes'] == ('birds', 'fruit')
    with pytest.raises(FileNotFoundError, match=r'real://stamps.*make real'):
        RealImages('stamps')
    with pytest.raises(ValueError, match=r"there is no task 'scenes'\. There are: stamps, clip_art"):
        RealImages('scenes')


def test_they_are_a_suite():
    assert {name for name, task in TASKS.items() if task.suite == 'real'} == set(REAL_IMAGES)
    assert {task.group for task in REAL_IMAGES.values()} == {'Real images'}


def test_the_head_or_the_mapping_gets_the_number_of_classes():
    config = read_config(REAL / 'linear.py')
    set_task(config, 'clip_art')
    assert config.model.head.num_classes == 10
    config = read_config(REAL / 'reprogram_border.py')
    set_task(config, 'clip_art')
    assert config.custom_hooks[0].mapping.num_classes == 10
    assert config.model.backbone.net.num_classes == 1000 and 'num_classes' not in config.model.head


def test_the_head_of_a_variant_gets_it_too(tmp_path):
    found = {(s.variant, s.task): s.config for s in studies([REAL / 'reprogram_border.py'], tmp_path, tasks=['all'])}
    assert {task for _, task in found} == set(REAL_IMAGES)
    assert found['linear', 'stamps'].model.head.num_classes == 7
    assert found['linear', 'clip_art'].model.head.num_classes == 10
    assert found['linear', 'clip_art'].custom_hooks[0].mapping is None
    assert found['bayesian_plus', 'clip_art'].custom_hooks[0].mapping.num_classes == 10


def test_both_tables_of_methods_have_the_same_methods():
    mini = read_config(REAL.parent / 'mini_vtab/methods.py').variants
    assert read_config(REAL / 'methods.py').variants == mini and len(mini) == 21
