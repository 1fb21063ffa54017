"""Captions: true of their scenes, as a parser of its own reads them; varied; of known words."""

import re
from collections import Counter

import numpy as np

from vptx.datasets.mini.captions import SYNONYMS, caption_words, describe, plural
from vptx.datasets.mini.figures import ATTRIBUTES, draw_scene, scene_rng

NUMBER = dict(a=1, an=1, one=1, two=2, three=3, four=4)
PLACES = dict(left='left', right='right', top='top', above='top', bottom='bottom', below='bottom', middle='middle')
PLACES['centre'] = 'middle'


def written(number=3000):
    for i in range(number):
        rng = scene_rng(0, 'val', i)
        scene = draw_scene(rng)
        yield scene, describe(rng, scene)


def meaning(word):
    """The attribute's word that a word stands for: 'hoops' -> 'ring'."""
    for usual, words in SYNONYMS.items():
        if word in words or word in map(plural, words):
            return usual
    return word


def read(caption):
    """What a caption says: attribute -> word."""
    text, said = caption.rstrip('.'), {}
    if found := re.search(r'(?:(?:at|on|in) the (\w+)|(above|below))', text):
        said['place'] = PLACES[found[1] or found[2]]
        text = text.replace(found[0], '').strip(', ')
    if found := re.search(r' on an? (.*?)(?:ground|background)$', text):
        for word in found[1].split():
            kind = 'ground_colour' if word in ATTRIBUTES['ground_colour'] else 'ground'
            said[kind] = meaning(word)
        text = text[: found.start()]
    if found := re.match(r'an? (photo|photograph|drawing|sketch|painting|picture|image) of ', text):
        if found[1] not in ('picture', 'image'):
            said['style'] = meaning(found[1])
        text = text[found.end() :]
    text = (
        re.sub(r'^there (is|are) ', '', text)
        .replace('a pair of', 'two')
        .replace('plus signs', 'crosses')
        .replace('plus sign', 'cross')
    )
    if found := re.search(r' with (stripe|dot|check|speckle)s$', text):
        said['texture'] = dict(stripe='striped', dot='dotted', check='checked', speckle='speckled')[found[1]]
        text = text[: found.start()]
    *words, noun = text.split()
    if noun not in ('figure', 'figures'):
        said['shape'] = meaning(noun)
    if words and words[0] in NUMBER:
        said['count'] = ATTRIBUTES['count'][NUMBER[words.pop(0)] - 1]
    for word in words:
        assert meaning(word) in {*ATTRIBUTES['size'], *ATTRIBUTES['colour'], *ATTRIBUTES['texture']}, caption
        name = next(name for name in ('size', 'colour', 'texture') if meaning(word) in ATTRIBUTES[name])
        assert name not in said, caption
        said[name] = meaning(word)
    return said, noun


def test_captions_are_true():
    counts = Counter()
    for scene, caption in written():
        said, noun = read(caption)
        for name, word in said.items():
            assert getattr(scene, name) == word, (caption, name)
        assert (scene.number > 1) == (noun == 'rhombi' or (noun.endswith('s') and noun not in ('cross', 'rhombus')))
        counts.update(said.keys())
    assert set(counts) == set(ATTRIBUTES)
    assert min(counts.values()) > 500 and max(counts.values()) < 3000  # each is said, and each is left out


def test_captions_vary():
    captions = [caption for _, caption in written(1000)]
    assert len(set(captions)) > 950
    scene = draw_scene(scene_rng(0, 'val', 0))
    assert len({describe(np.random.default_rng(i), scene) for i in range(50)}) > 45
    assert describe(np.random.default_rng(3), scene) == describe(np.random.default_rng(3), scene)


def test_the_words_are_those_of_captions():
    words = {word.strip('.,') for _, caption in written() for word in caption.split()}
    assert words <= set(caption_words()) and len(caption_words()) < 110


def test_plurals():
    assert [plural(noun) for noun in ('star', 'cross', 'box', 'rhombus', 'plus sign')] == [
        'stars', 'crosses', 'boxes', 'rhombi', 'plus signs',
    ]  # fmt: skip
