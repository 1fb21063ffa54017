"""Colours of classes, where none are given, and what a trained segmentor says its classes are."""

from collections.abc import Mapping, Sequence
from colorsys import hsv_to_rgb
from typing import Any

from mmseg.registry import DATASETS

__all__ = ['colours', 'dataset_meta']


def colours(number: int) -> list[list[int]]:
    """Choose RGB colours that differ from each other.

    Args:
        number: The number of colours. The first colours are the same for any number.

    Returns:
        One (red, green, blue) for each class, 0 to 255.
    """
    shades = [(1.0, 1.0), (0.9, 0.75), (0.5, 1.0), (0.75, 0.95)]  # saturation and value, in turn
    made = []
    for index in range(number):
        hue = (0.6 + index * 0.618034) % 1  # by the golden ratio: far from the last ones
        made.append([round(255 * part) for part in hsv_to_rgb(hue, *shades[index % len(shades)])])
    return made


def dataset_meta(dataset: Mapping[str, Any] | None, classes: Sequence[str] | None) -> dict[str, Any]:
    """Names and colours of classes: ``dict(classes=[...], palette=[...])``, or ``{}`` where there are no names.

    Args:
        dataset: config of the data set. Its colours are taken by name, or those of its class, or ``colours``.
        classes: names in the order of the head, as a prompt file has them; None takes those of ``dataset``.
    """
    data: Mapping[str, Any] = dataset or {}
    while 'dataset' in data or 'datasets' in data:  # of a wrapper
        data = data['dataset'] if 'dataset' in data else data['datasets'][0]
    kind = data.get('type')
    found = DATASETS.get(kind) if kind and isinstance(kind, str) else kind
    registered = getattr(found, 'METAINFO', {})
    own = {**(data.get('metainfo') or {}), **{key: data[key] for key in ('classes', 'palette') if data.get(key)}}
    if data.get('labels') and not own.get('classes'):
        own['classes'] = list(dict.fromkeys(name for name in data['labels'].values() if name is not None))
    named = own.get('classes')
    if not classes and isinstance(named, Sequence) and not isinstance(named, str):
        classes = named
    if not classes:
        return {}
    for meta in (own, {'classes': registered.get('classes'), **own}, registered):
        known = dict(zip(meta.get('classes') or (), meta.get('palette') or ()))
        if known.keys() >= set(classes):
            return dict(classes=list(classes), palette=[list(known[name]) for name in classes])
    return dict(classes=list(classes), palette=colours(len(classes)))
