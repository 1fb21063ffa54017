"""Google's JAX ViT, original, augreg and big_vision: ``Transformer/encoderblock_0/MlpBlock_3/Dense_0/kernel``.

https://github.com/google-research/vision_transformer and https://github.com/google-research/big_vision. Kernels there
are (in, out) and (height, width, in, out); queries, keys and values are apart, each (D, heads, D / heads).
"""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from .rename import Rules, rename

NAME = "Google's ViT"

_BLOCK = r'^Transformer/encoderblock_(\d+)/'
# The numbers of the modules inside a block differ between the two repositories, their order does not.
_RULES: Rules = [
    (r'^(?:opt/target/|params/img/|params/)', ''),
    (r'/(?:kernel|scale)$', '.weight'),
    (r'/bias$', '.bias'),
    (r'^cls$', 'cls_token'),
    (r'^(?:Transformer/posembed_input/)?pos_embedding$', 'pos_embed'),
    (r'^embedding\.', 'patch_embed.proj.'),
    (r'^Transformer/encoder_norm\.', 'norm.'),
    (_BLOCK + r'LayerNorm_0\.', r'blocks.\1.norm1.'),
    (_BLOCK + r'LayerNorm_[12]\.', r'blocks.\1.norm2.'),
    (_BLOCK + r'MultiHeadDotProductAttention_\d/out\.', r'blocks.\1.attn.proj.'),
    (_BLOCK + r'MultiHeadDotProductAttention_\d/', r'blocks.\1.attn.'),
    (_BLOCK + r'MlpBlock_\d/Dense_0\.', r'blocks.\1.mlp.fc1.'),
    (_BLOCK + r'MlpBlock_\d/Dense_1\.', r'blocks.\1.mlp.fc2.'),
]


def knows(names: Collection[str]) -> bool:
    return any(name.endswith('embedding/kernel') for name in names)


def convert(tensors: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    converted = rename({name: _turned(name, value) for name, value in tensors.items()}, _RULES)
    for query in [name for name in converted if '.attn.query.' in name]:
        parts = [query.replace('query', part) for part in ('query', 'key', 'value')]
        if all(part in converted for part in parts):
            converted[query.replace('query', 'qkv')] = torch.cat([converted.pop(part) for part in parts])
    return converted


def _turned(name: str, value: Tensor) -> Tensor:
    """A kernel as PyTorch has it: (out, in) or (out, in, height, width); the biases of all heads in one row."""
    if not name.endswith('/kernel'):
        return value.flatten() if name.endswith('/bias') else value
    if value.dim() == 4:
        return value.permute(3, 2, 0, 1)
    return (value.flatten(0, 1) if name.endswith('/out/kernel') else value.flatten(1)).T
