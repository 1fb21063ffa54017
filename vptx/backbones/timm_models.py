"""What each model of timm is wrapped by, found on models without numbers: nothing is allocated or fetched."""

import warnings
from collections.abc import Iterable, Iterator

import timm
import torch
from torch import nn

from vptx.backbones.base import Net, wrap_backbone

__all__ = ['build_without_numbers', 'wrap_all']


def build_without_numbers(name: str) -> nn.Module:
    """timm's model on the meta device, in eval mode."""
    with torch.device('meta'), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # some say that they are experimental
        return timm.create_model(name).eval()


def wrap_all(names: Iterable[str] | None = None) -> Iterator[tuple[str, nn.Module, Net | str]]:
    """Of each model: its name, itself, and its net, or the error of ``wrap_backbone``.

    Args:
        names: of models; None for all that timm has registered itself.
    """
    own = (name for name in timm.list_models() if timm.models.model_entrypoint(name).__module__.startswith('timm.'))
    for name in own if names is None else names:
        model = build_without_numbers(name)
        try:
            yield name, model, wrap_backbone(model)
        except ValueError as error:
            yield name, model, str(error)
