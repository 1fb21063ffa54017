"""What a head gets to see: a checked choice of the hall.

The tokens after the last layer are ``[prefix (B, K, D), prompts (B, P, D), patches (B, N, D)]``; P is 0 where no
prompt is left.
"""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ['OWN', 'READOUTS', 'READS_PROMPTS', 'check_readout']

READOUTS: dict[str, Callable[[Tensor, Tensor, Tensor, tuple[int, int]], Tensor]] = {
    # class token -> (B, D)
    'cls': lambda prefix, prompts, patches, grid: prefix[:, 0],
    # average of the patches -> (B, D)
    'mean': lambda prefix, prompts, patches, grid: patches.mean(1),
    # average of the prompts -> (B, D); the paper's "prompt-pool", up to 8 points worse than cls in its figure 8
    'prompts': lambda prefix, prompts, patches, grid: prompts.mean(1),
    # average of both -> (B, D); the paper's "global-pool", and what its MAE runs use
    'prompts+patches': lambda prefix, prompts, patches, grid: torch.cat([prompts, patches], 1).mean(1),
    # feature map -> (B, D, H', W')
    'map': lambda prefix, prompts, patches, grid: patches.transpose(1, 2).unflatten(2, grid),
}
#: Those that need prompts to be there after the last layer.
READS_PROMPTS = frozenset({'prompts', 'prompts+patches'})
#: The network's own pooling and classifier on its own tokens -> (B, C): what a bare library network returns.
OWN = 'logits'


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
    if readout in served:
        return
    if readout not in READOUTS:
        reason = 'there is no such readout'
    elif readout in READS_PROMPTS:
        reason = 'no prompt tokens are left after the last layer with this prompter'
    else:
        reason = f'{net} has no class token'
    raise ValueError(f"readout '{readout}' cannot be served: {reason}. Here you can have: {', '.join(served)}")
