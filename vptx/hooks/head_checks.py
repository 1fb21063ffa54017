"""Whether a classifier's head can read what the prompted network gives it, asked before the first iteration."""

from collections.abc import Sequence

from torch import nn

from vptx.attach import find_prompted_network
from vptx.readout import OWN

__all__ = ['check_head']


def check_head(model: nn.Module) -> None:
    """Refuse a head that reads vectors of another width, or vectors where there are maps or class scores.

    A model with a neck, or with a head of another kind than mmpretrain's linear ones, passes.

    Raises:
        ValueError: names both sides, and what to set.
    """
    # Not on `import vptx`: it takes seconds.
    from mmpretrain.models.heads import LinearClsHead, StackedLinearClsHead, VisionTransformerClsHead

    prompted, head = find_prompted_network(model), getattr(model, 'head', None)
    reads_vectors = isinstance(head, (LinearClsHead, StackedLinearClsHead, VisionTransformerClsHead))
    if prompted is None or not reads_vectors or getattr(model, 'neck', None) is not None:
        return
    name, readout, wanted = type(head).__name__, prompted.readout, head.in_channels
    if prompted.mapping.num_classes:
        raise ValueError(
            f'mapping={type(prompted.mapping).__name__} gives the scores of {prompted.mapping.num_classes} classes, '
            'which '
            f"{name} would read as features: set model.head=dict(type='ClsHead', _delete_=True)"
        )
    if readout == 'map' or isinstance(readout, dict) or readout == 'maps':
        raise ValueError(
            f"readout={readout!r} gives feature maps, and {name} reads vectors: set readout='mean'"
            f"{' or cls' if prompted.net.has_class_token else ''}, or model.neck=dict(type='GlobalAveragePooling')"
        )
    width = prompted.net.geometry.classes if readout == OWN else _width(prompted.net.geometry.widths)
    if width and width != wanted:
        raise ValueError(
            f'{name} reads {wanted} features, and readout={readout!r} of {prompted.net.geometry.name} gives {width}: '
            'set '
            f'model.head.in_channels={width}'
        )


def _width(widths: Sequence[int]) -> int:
    """Of what is read after the last layer; 0 where there are no layers to ask."""
    return widths[-1] if widths else 0
