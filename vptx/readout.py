"""What a head gets to see: a checked option of the prompted network.

The tokens after the last layer are ``[prefix (B, K, D), prompts (B, P, D), patches (B, N, D)]``; P is 0 where no
prompt is left.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ['FIRST_ROWS', 'MAPS', 'OWN', 'READOUTS', 'READS_PROMPTS', 'Maps', 'Readout', 'check_readout', 'read_maps']


def _cells(patches: Tensor) -> Tensor:
    """(B, N, D) as it is.

    Raises:
        ValueError: there are none.
    """
    if not patches.shape[1]:
        raise ValueError(
            "the features of this network are no map of cells that could be averaged or returned: readout='logits' is "
            'what it has'
        )
    return patches


READOUTS: dict[str, Callable[[Tensor, Tensor, Tensor, tuple[int, int]], Tensor]] = {
    # class token -> (B, D)
    'cls': lambda prefix, prompts, patches, grid: prefix[:, 0],
    # average of the patches -> (B, D)
    'mean': lambda prefix, prompts, patches, grid: _cells(patches).mean(1),
    # average of the prompts -> (B, D); the paper's "prompt-pool", up to 8 points worse than cls in its figure 8
    'prompts': lambda prefix, prompts, patches, grid: prompts.mean(1),
    # average of both -> (B, D); the paper's "global-pool", and what its MAE runs use
    'prompts+patches': lambda prefix, prompts, patches, grid: torch.cat([prompts, _cells(patches)], 1).mean(1),
    # feature map -> (B, D, H', W')
    'map': lambda prefix, prompts, patches, grid: _cells(patches).transpose(1, 2).unflatten(2, grid),
}
#: Those that need prompts to be there after the last layer.
READS_PROMPTS = frozenset({'prompts', 'prompts+patches'})
#: Of those that read no more than a few of the first tokens, how many.
FIRST_ROWS = {'cls': 1}
#: The network's own pooling and classifier on its own tokens -> (B, C): what a bare library network returns. Of an
#: OpenMMLab backbone, its own tuple.
OWN = 'logits'
#: Feature maps of several layers; see ``Maps``.
MAPS = 'maps'
NORMS = ('none', 'final', 'each', 'projected')

#: A name, or ``dict(maps=[layers], norm=...)``.
Readout = str | dict[str, Any]


@dataclass(frozen=True)
class Maps:
    """Feature maps of several layers, in the order asked for -> a tuple of (B, D_l, H_l, W_l), without prompts.

    Written ``dict(maps=[9, 14, 19, 23])``, or ``'maps'`` for the layers and the norm that are usual for the network.

    Attributes:
        layers: counted from 0.
        norm: ``'none'``, maps as the layers give them, what SETR takes from a ViT; ``'final'``, the network's final
            norm on the last layer's map; ``'projected'``, its classifier after that norm, on every cell of it: CLIP's
            joint space, so (B, C, H_l, W_l); ``'each'``, a layer norm of its own on each map, new and trained if
            ``tune`` names ``map_norms``, as segmentation with Swin has it.
    """

    layers: tuple[int, ...]
    norm: str


def read_maps(readout: Readout, depth: int, stages: Sequence[int], norm: str) -> Maps | None:
    """The maps that ``readout`` asks for, or None if it is one of the others.

    Args:
        readout: as given.
        depth: L, for layers counted from the end.
        stages: the layers of plain ``'maps'``.
        norm: where the readout names none.

    Raises:
        ValueError: layers that are not there, none or twice, an unknown norm or key.
    """
    if depth == 0 and (readout == MAPS or isinstance(readout, dict)):
        raise ValueError("maps of several layers cannot be served: this network has none. Read its one map: 'map'")
    if readout == MAPS:
        return Maps(tuple(stages), norm)
    if isinstance(readout, str):
        return None
    options = dict(readout) if isinstance(readout, dict) else {}
    layers, norm = options.pop(MAPS, None), options.pop('norm', norm)
    if options or not isinstance(layers, Sequence) or isinstance(layers, str) or not layers:
        raise ValueError(f"a readout is a name or dict(maps=[layers], norm='none'), not {readout!r}")
    bad = [layer for layer in layers if not isinstance(layer, int) or not -depth <= layer < depth]
    if bad:
        raise ValueError(f'maps of layers {bad} are out of range: there are layers 0 to {depth - 1}')
    counted = tuple(layer % depth for layer in layers)
    if len(set(counted)) < len(counted):
        raise ValueError(f'maps of layers {list(layers)}: one of them is there twice')
    if norm not in NORMS:
        raise ValueError(f'norm of maps must be one of {", ".join(NORMS)}, not {norm!r}')
    return Maps(counted, norm)


def check_readout(readout: str, net: str, has_class_token: bool, has_tokens: bool, prompts_at_end: bool) -> None:
    """Refuse a readout that the network or the prompter cannot serve.

    Raises:
        ValueError: says which readouts would work.
    """
    served = [OWN]
    if has_tokens:
        served += [
            name
            for name in READOUTS
            if (has_class_token or name != 'cls') and (prompts_at_end or name not in READS_PROMPTS)
        ]
        served += [MAPS]
    if readout in served:
        return
    if readout not in (*READOUTS, MAPS):
        reason = 'there is no such readout'
    elif not has_tokens:
        reason = f'{net} is called in one piece, and gives what it gives'
    elif readout in READS_PROMPTS:
        reason = 'no prompt tokens are left after the last layer with this prompter'
    else:
        reason = f'{net} has no class token'
    raise ValueError(f"readout '{readout}' cannot be served: {reason}. Here you can have: {', '.join(served)}")
