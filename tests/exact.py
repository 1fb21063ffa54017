"""Tiny networks with prompters whose numbers matter, in double precision, where identities hold to 1e-12."""

import torch
from networks import config, images, tiny
from torch import Tensor, nn

import vptx


def exact(kind: str | list, network: str = 'plain', seed: int = 1, std: float = 0.2, **options) -> nn.Module:
    """In eval mode; every learnt number is moved."""
    torch.manual_seed(seed)
    prompter = kind if isinstance(kind, list) else dict(config(kind), **options)
    model = vptx.attach(tiny(network).double(), prompter).eval()
    with torch.no_grad():
        for parameter in model.prompter.parameters():
            parameter.add_(std * torch.randn_like(parameter))
    return model


def frozen(network: str = 'plain') -> nn.Module:
    return tiny(network).double()


def pictures(batch: int = 3) -> Tensor:
    return images(batch).double()


def same(ours: Tensor, theirs: Tensor, bound: float = 1e-12) -> bool:
    return bool((ours - theirs).abs().max() <= bound * theirs.abs().max())
