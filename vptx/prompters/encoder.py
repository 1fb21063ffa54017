"""A frozen network of a prompter's own, which sees the same images as the one that is prompted."""

from typing import Any

from torch import Tensor

from vptx.registry import NETS, build

__all__ = ['encode', 'frozen_net']


def frozen_net(config: dict, asker: str) -> Any:
    """A net with a class token, whose numbers are buffers that no file keeps: nothing trains, counts or saves them.

    Args:
        config: of the net, with its weights.
        asker: the prompter that reads it, for errors.

    Raises:
        ValueError: a net without a class token.
    """
    net: Any = build(NETS, config)
    if not net.has_class_token:
        raise ValueError(f'{asker} reads the class token of its encoder, and {net.geometry.name} has none')
    for part in net.modules():
        tensors = {**dict(part.named_parameters(recurse=False)), **dict(part.named_buffers(recurse=False))}
        for name, tensor in tensors.items():
            delattr(part, name)
            part.register_buffer(name, tensor.detach(), persistent=False)
    return net


def encode(net: Any, image: Tensor) -> Tensor:
    """The tokens of its last layer, before the final norm: (B, 3, H, W) -> (B, M, D)"""
    tokens, context = net.embed(image)
    for layer in range(net.geometry.depth):
        tokens, context = net.merge(tokens, layer, context)
        tokens = net.block(tokens, layer, context, exact=False)
    return tokens
