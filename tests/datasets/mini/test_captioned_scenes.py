"""Captioned scenes: the same everywhere, splits apart, held-out pairs absent from training, questions with answers."""

import numpy as np
import pytest

from vptx.datasets import CaptionedScenes
from vptx.datasets.mini.captioned_scenes import QUESTIONS
from vptx.datasets.mini.figures import ATTRIBUTES, is_held_out
from vptx.registry import DATASETS

CAPTIONED = [dict(type='WriteCaption'), dict(type='mmpretrain.PackInputs', meta_keys=('scene', 'caption'))]


def test_items_do_not_depend_on_what_was_asked_before():
    one, two = CaptionedScenes(20), CaptionedScenes(50)
    for i in (19, 3, 7):
        first, again = one.get_data_info(i), two.get_data_info(i)
        assert first['scene'] == again['scene'] and first['img'].flags.c_contiguous
        np.testing.assert_array_equal(first['img'], again['img'])
    assert len(one) == 20 and len(two) == 50


def test_no_training_scene_shows_a_held_out_pair():
    for item in map(CaptionedScenes(400).get_data_info, range(400)):
        scene = item['scene']
        assert not is_held_out(scene.shape, scene.colour) and not is_held_out(scene.shape, None, scene.texture)
    with pytest.raises(ValueError, match=r"pairs='unseen' are held out of training"):
        CaptionedScenes(10, pairs='unseen')


def test_groups_of_scenes_are_alike():
    """Half of the facts, others in each group; what is held out stays out."""
    facts = [data.get_data_info(i)['scene'] for data in [CaptionedScenes(800, alike=16)] for i in range(800)]
    assert not any(is_held_out(s.shape, s.colour) or is_held_out(s.shape, None, s.texture) for s in facts)
    groups = [facts[i : i + 16] for i in range(0, 800, 16)]
    shared = [{name for name in ATTRIBUTES if len({getattr(s, name) for s in group}) == 1} for group in groups]
    assert 3.5 < np.mean([len(names) for names in shared]) < 5.5 and len(set(map(frozenset, shared))) > 40
    assert all(len(set(group)) > 4 for group in groups)


def test_splits_and_seeds_share_no_image():
    sets = [CaptionedScenes(20), CaptionedScenes(20, 'val'), CaptionedScenes(20, 'test'), CaptionedScenes(20, seed=1)]
    assert len({data.get_data_info(i)['img'].tobytes() for data in sets for i in range(20)}) == 80


def test_through_a_pipeline():
    data = DATASETS.build(dict(type='CaptionedScenes', length=3, split='test', pairs='unseen', pipeline=CAPTIONED))
    np.random.seed(0)
    item, again = data[1], data[1]
    assert item['inputs'].shape == (3, 64, 64)
    sample = item['data_samples']
    assert sample.scene == again['data_samples'].scene and is_held_out(sample.scene.shape, sample.scene.colour)
    assert isinstance(sample.caption, str) and len({data[1]['data_samples'].caption for _ in range(10)}) > 5


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(length=0), 'empty'),
        (dict(length=1, alike=0), 'alike=0'),
        (dict(length=1, split='dev'), 'split'),
        (dict(length=1, pairs='any'), 'seen'),
    ],
)
def test_bad_arguments(wrong, message):
    with pytest.raises(ValueError, match=message):
        CaptionedScenes(**wrong)


def test_questions():
    assert {name: len(asked.answers) for name, asked in QUESTIONS.items()} == dict(
        shape=10, colour=8, texture=5, count=4, colour_shape=80, texture_shape=50, colour_texture_shape=400
    )
    scene = CaptionedScenes(1).get_data_info(0)['scene']
    for asked in QUESTIONS.values():
        assert asked.answers[asked.answer(scene)].split() == [getattr(scene, name) for name in asked.attributes]
        assert all(template.count('{}') == 1 for template in asked.templates)
    assert QUESTIONS['colour_shape'].answers[:2] == ('red circle', 'red square')
    assert set(ATTRIBUTES) >= {name for asked in QUESTIONS.values() for name in asked.attributes}
