"""Scenes of figures: determined by their facts and a seed, with pairs that are held out by a rule."""

from collections import Counter
from itertools import product

import numpy as np
import pytest

from vptx.datasets.mini.figures import ATTRIBUTES, NEW_STYLES, draw_scene, is_held_out, paint, scene_rng

SHAPES, COLOURS, TEXTURES = (ATTRIBUTES[name] for name in ('shape', 'colour', 'texture'))


def scenes(number, pairs='any', **known):
    return [draw_scene(scene_rng(0, 'test', i), pairs, **known) for i in range(number)]


def test_the_same_numbers_make_the_same_image():
    for i in range(12):
        twins = []
        for _ in range(2):
            rng = scene_rng(0, 'train', i)
            scene = draw_scene(rng, 'seen')
            twins.append((scene, paint(rng, scene)))
        assert twins[0][0] == twins[1][0]
        np.testing.assert_array_equal(twins[0][1], twins[1][1])
        assert twins[0][1].shape == (64, 64, 3) and twins[0][1].dtype == np.uint8
    firsts = [
        draw_scene(scene_rng(*place)) for place in ((0, 'train', 0), (1, 'train', 0), (0, 'val', 0), (0, 'train', 1))
    ]
    assert len(set(firsts)) == 4


def test_a_fifth_of_the_pairs_is_held_out_of_every_word():
    colours = [pair for pair in product(SHAPES, COLOURS) if is_held_out(*pair)]
    textures = [(shape, texture) for shape, texture in product(SHAPES, TEXTURES) if is_held_out(shape, None, texture)]
    assert len(colours) == 16 and len(textures) == 10
    assert set(Counter(shape for shape, _ in colours).values()) == {1, 2}
    assert set(Counter(colour for _, colour in colours).values()) == {2}
    assert set(Counter(shape for shape, _ in textures).values()) == {1}
    assert set(Counter(texture for _, texture in textures).values()) == {2}


def test_seen_and_unseen_pairs():
    for scene in scenes(2000, 'seen'):
        assert not is_held_out(scene.shape, scene.colour) and not is_held_out(scene.shape, None, scene.texture)
    unseen = scenes(500, 'unseen')
    for scene in unseen:
        assert is_held_out(scene.shape, scene.colour) and is_held_out(scene.shape, None, scene.texture)
    assert len({(scene.shape, scene.colour) for scene in unseen}) == 16


def test_every_word_is_drawn_and_no_new_style():
    drawn = scenes(2000, 'seen')
    for name, words in ATTRIBUTES.items():
        assert {getattr(scene, name) for scene in drawn} == set(words)
    assert not set(NEW_STYLES) & set(ATTRIBUTES['style'])
    assert all(scene.colour != scene.ground_colour for scene in drawn)


@pytest.mark.parametrize('style', [*ATTRIBUTES['style'], *NEW_STYLES])
def test_figures_are_seen(style):
    """A scene differs from the same scene of another shape, where that stands."""
    known = dict(style=style, size='large', count='one', place='middle', ground='plain', texture='plain')
    for i in range(5):
        images = []
        for shape in ('circle', 'arrow'):
            scene = draw_scene(scene_rng(0, 'test', i), shape=shape, colour='red', ground_colour='white', **known)
            images.append(paint(scene_rng(0, 'test', i), scene).astype(float))
        difference = np.abs(images[0] - images[1]).mean(-1)
        assert difference[16:48, 16:48].mean() > 4 * difference[:8].mean()
        assert difference[16:48, 16:48].mean() > 3


def test_what_no_scene_is():
    with pytest.raises(ValueError, match="no shape 'blob': expected one of circle, square"):
        draw_scene(scene_rng(0, 'test', 0), shape='blob')
    with pytest.raises(ValueError, match="no smell 'sweet'"):
        draw_scene(scene_rng(0, 'test', 0), smell='sweet')
    with pytest.raises(ValueError, match='none of 1000 scenes'):
        draw_scene(scene_rng(0, 'test', 0), colour='red', ground_colour='red')
    with pytest.raises(ValueError, match="one of 'any', 'seen', 'unseen'"):
        draw_scene(scene_rng(0, 'test', 0), 'new')
