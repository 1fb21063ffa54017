"""Sentences about scenes of figures: true, of varying length, with synonyms.

    [a photo of] [two] [small] [red] [striped] circles [on a blue gridded ground] [at the top]

A sentence leaves out some of what there is to say. ``SYNONYMS`` are the words that may stand for one of
``ATTRIBUTES``; the first of each is the usual one.
"""

from numpy.random import Generator

from .figures import ATTRIBUTES, NEW_STYLES, Scene

__all__ = ['SYNONYMS', 'caption_words', 'describe', 'plural']

SYNONYMS: dict[str, tuple[str, ...]] = {
    **{word: (word,) for words in (*ATTRIBUTES.values(), NEW_STYLES) for word in words},
    'circle': ('circle', 'disc'),
    'square': ('square', 'box'),
    'ring': ('ring', 'hoop'),
    'cross': ('cross', 'plus sign'),
    'diamond': ('diamond', 'rhombus'),
    'moon': ('moon', 'crescent'),
    'plain': ('plain', 'solid'),
    'striped': ('striped', 'lined'),
    'dotted': ('dotted', 'spotted'),
    'checked': ('checked', 'chequered'),
    'speckled': ('speckled', 'grainy'),
    'purple': ('purple', 'violet'),
    'small': ('small', 'little', 'tiny'),
    'large': ('large', 'big'),
    'two': ('two', 'a pair of'),
    'cloudy': ('cloudy', 'blurred'),
    'photo': ('photo', 'photograph'),
    'drawing': ('drawing', 'sketch'),
}
_PLACES = {
    'left': ('on the left', 'at the left'),
    'right': ('on the right', 'at the right'),
    'top': ('at the top', 'above'),
    'bottom': ('at the bottom', 'below'),
    'middle': ('in the middle', 'in the centre'),
}
_GENERAL = ('picture', 'image')  # what every style is
_WITH = {'striped': 'with stripes', 'dotted': 'with dots', 'checked': 'with checks', 'speckled': 'with speckles'}
# How often a sentence says it.
_SAID = dict(shape=0.92, colour=0.7, texture=0.7, count=0.75, size=0.35, place=0.35, ground_colour=0.3, ground=0.3)


def plural(noun: str) -> str:
    """The plural of a noun of this vocabulary."""
    return 'rhombi' if noun == 'rhombus' else noun + ('es' if noun.endswith(('s', 'ss', 'x')) else 's')


def _article(words: list[str]) -> str:
    return 'an' if words[0][0] in 'aeio' else 'a'


def describe(rng: Generator, scene: Scene) -> str:
    """A sentence that is true of the scene; words, order and what it leaves out are drawn at random."""

    def pick(word: str) -> str:
        options = SYNONYMS[word]
        return options[0] if rng.random() < 0.6 else options[rng.integers(len(options))]

    said = {name: rng.random() < share for name, share in _SAID.items()}
    noun = pick(scene.shape) if said['shape'] else 'figure'
    after = ''
    texture = pick(scene.texture) if said['texture'] else ''
    if texture and scene.texture in _WITH and rng.random() < 0.15:
        texture, after = '', ' ' + _WITH[scene.texture]
    colour = pick(scene.colour) if said['colour'] else ''
    looks = [texture, colour] if rng.random() < 0.25 else [colour, texture]
    words = [word for word in (pick(scene.size) if said['size'] else '', *looks, noun) if word]
    if scene.number > 1:
        words[-1] = plural(noun)
        phrase = ' '.join([pick(scene.count), *words] if said['count'] else words)
    else:
        first = 'one' if said['count'] and rng.random() < 0.25 else _article(words)
        phrase = ' '.join([first, *words])
    phrase += after

    ground = [scene.ground_colour] if said['ground_colour'] else []
    ground += [pick(scene.ground)] if said['ground'] else []
    if ground:
        phrase += f' on {_article(ground)} {" ".join(ground)} {"ground" if rng.random() < 0.7 else "background"}'
    place = ''
    if said['place']:
        places = _PLACES[scene.place]
        place = places[rng.integers(len(places))]

    draw = rng.random()
    if place and draw > 0.9:
        phrase = f'{place}, {phrase}'
    elif place:
        phrase = f'{phrase} {place}'
    if draw < 0.45:
        phrase = f'a {pick(scene.style)} of {phrase}'
    elif draw < 0.65:
        kind = _GENERAL[rng.integers(len(_GENERAL))]
        phrase = f'{_article([kind])} {kind} of {phrase}'
    elif draw < 0.72:
        phrase = f'there {"are" if scene.number > 1 else "is"} {phrase}'
    return phrase + ('.' if rng.random() < 0.5 else '')


def caption_words() -> list[str]:
    """All words that captions consist of."""
    nouns = ('figure', *(noun for shape in ATTRIBUTES['shape'] for noun in SYNONYMS[shape]))
    phrases = [word for words in SYNONYMS.values() for word in words] + [
        place for two in _PLACES.values() for place in two
    ]
    phrases += [*nouns, *map(plural, nouns), *_GENERAL, *_WITH.values()]
    phrases += ['a', 'an', 'one', 'there is', 'there are', 'of', 'on', 'ground', 'background']
    return sorted({word for phrase in phrases for word in phrase.split()})
