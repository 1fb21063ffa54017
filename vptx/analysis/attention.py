"""What class tokens attend to, layer by layer."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from vptx.prompted import PromptedNetwork

__all__ = ['Listen', 'class_attention', 'parted']


class Listen(TorchFunctionMode):
    """Notes, of every attention that is computed in its context, what the first query pays: (B, keys).

    Args:
        network: whose modules are all called, where a layer would be computed from their weights; None leaves that as
            it is.
    """

    def __init__(self, network: nn.Module | None = None) -> None:
        super().__init__()
        self.network = network
        self.paid: list[tuple[int, Tensor]] = []

    def __enter__(self) -> 'Listen':
        # No short ways: with plain arithmetic, memory and tokens are attended to at once; and where a hook looks at
        # the tokens, the last layer computes them all.
        self._undo = ExitStack()
        self._undo.enter_context(sdpa_kernel(SDPBackend.MATH))
        for module in self.network.modules() if self.network is not None else ():
            self._undo.enter_context(module.register_forward_hook(lambda *_: None))
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._undo.close()

    def __torch_function__(self, func: Any, types: Any, args: Sequence = (), kwargs: dict | None = None) -> Any:
        if func is F.scaled_dot_product_attention:
            query, key = args[0], args[1]
            scores = query[:, :, :1] @ key.mT / query.shape[-1] ** 0.5
            self.paid.append((query.shape[2], scores.softmax(-1).mean(1)[:, 0]))
        return func(*args, **(kwargs or {}))


def parted(queries: int, paid: Tensor, prefix: int, patches: int) -> tuple[Tensor, Tensor, Tensor]:
    """What a class token pays (B, keys) -> to prefix (B, K), prompts (B, P) and patches (B, N).

    Memory comes before all tokens, other prompts between class token and patches.
    """
    prompts = paid.shape[1] - prefix - patches
    if queries < paid.shape[1]:
        return paid[:, prompts : prompts + prefix], paid[:, :prompts], paid[:, prompts + prefix :]
    return paid[:, :prefix], paid[:, prefix : prefix + prompts], paid[:, prefix + prompts :]


@torch.no_grad()
def class_attention(
    network: PromptedNetwork, image: Tensor, note: Any = None
) -> tuple[list[tuple[Tensor, Tensor, Tensor]], tuple[int, int]]:
    """Of one image (1, 3, H, W): what the class token pays in each layer, to the K tokens of the prefix, the P prompts
    and the N patches, means over heads; and the patches, (H', W').

    Raises:
        ValueError: a network without a class token, or one whose layers attend otherwise than by one softmax each.
    """
    facts = network.net.geometry
    if not facts.prefix or not network.net.has_class_token:
        raise ValueError(f'attention is shown of networks with a class token, and {facts.name} has none')
    with Listen() as listening:
        state = network.layers(network.embed(image, note), facts.depth)  # and so all rows of the last one
    if len(listening.paid) != facts.depth:
        raise ValueError(
            f'{facts.depth} layers of {facts.name} computed {len(listening.paid)} attentions: it attends otherwise'
        )
    grid = state.context.grid
    rows = [parted(queries, paid, facts.prefix, grid[0] * grid[1]) for queries, paid in listening.paid]
    return [(own[0], prompts[0], patches[0]) for own, prompts, patches in rows], grid
