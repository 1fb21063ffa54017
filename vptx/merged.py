"""Weights of a frozen network with what a prompter does put into them, and the weights that they were."""

from collections.abc import Iterator, MutableMapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vptx.backbones.base import Net
from vptx.backbones.spelling import is_affine, is_untouched
from vptx.geometry import Affine, Site
from vptx.prompters.base import Prompter

__all__ = ['Merged', 'NetWeights', 'restore']

#: A module, the name of a parameter, and its value, or None if it had none.
Saved = list[tuple[nn.Module, str, Tensor | None]]


class Merged(NamedTuple):
    """What a network was before a prompter was merged.

    Attributes:
        prompter: the whole one.
        saved: all parameters that were written.
    """

    prompter: Prompter
    saved: Saved


class NetWeights(MutableMapping[Site, Affine]):
    """The weights of the modules at a network's sites, in single precision at least, whatever the network's.

    What is set is written by ``write`` alone.

    Args:
        net: whose weights they are.

    Raises:
        ValueError: of a module that is hooked, quantised or no affine map.
    """

    def __init__(self, net: Net) -> None:
        self.net = net
        self._changed: dict[Site, Affine] = {}

    def __getitem__(self, site: Site) -> Affine:
        if site in self._changed:
            return self._changed[site]
        module = self._module(site)
        return Affine(_precise(module.weight), None if getattr(module, 'bias', None) is None else _precise(module.bias))

    def __setitem__(self, site: Site, value: Affine) -> None:
        self._module(site)
        self._changed[site] = value

    def __delitem__(self, site: Site) -> None:
        del self._changed[site]

    def __iter__(self) -> Iterator[Site]:
        return iter(self.net.geometry.sites)

    def __len__(self) -> int:
        return len(self.net.geometry.sites)

    def _module(self, site: Site) -> Any:
        module = self.net.affine_at(site)
        if not is_affine(module) or not is_untouched(self.net.module_at(site)):
            raise ValueError(
                f'{site.name}{"" if site.layer is None else f" of layer {site.layer}"} of {self.net.geometry.name} '
                f'cannot be merged into: it is a {type(module).__name__} with a hook, parametrised or quantised, or '
                'no plain affine map. Take the change off, or leave the prompter unmerged'
            )
        return module

    def write(self) -> Saved:
        """Put what was set into the network.

        Returns:
            What was there.
        """
        saved: Saved = []
        for site, value in self._changed.items():
            module = self._module(site)
            for name, new in zip(('weight', 'bias'), value, strict=True):
                own = getattr(module, name, None)
                if new is None:
                    continue
                saved.append((module, name, None if own is None else own.detach().clone()))
                if own is None:
                    module.register_parameter(name, nn.Parameter(new.to(module.weight), requires_grad=False))
                else:
                    own.copy_(new)
        return saved


def restore(saved: Saved) -> None:
    """Write back what ``NetWeights.write`` returned."""
    for module, name, value in reversed(saved):
        if value is None:
            module.register_parameter(name, None)
        else:
            getattr(module, name).copy_(value)


def _precise(tensor: Tensor) -> Tensor:
    return tensor.detach() if tensor.dtype == torch.float64 else tensor.detach().float()
