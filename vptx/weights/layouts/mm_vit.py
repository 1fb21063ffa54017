"""OpenMMLab's ViT, mmpretrain's (MAE and MoCo v3 too) and mmseg's: ``layers.0.ffn.layers.0.0.weight``.

https://github.com/open-mmlab/mmpretrain, ``mmpretrain/models/backbones/vision_transformer.py``, and
https://github.com/open-mmlab/mmsegmentation, ``mmseg/models/backbones/vit.py``, which takes PyTorch's own attention.
"""

from collections.abc import Collection, Mapping

from torch import Tensor, nn

from .rename import Rules, rename

NAME = "OpenMMLab's ViT"

RULES: Rules = [
    (r'^patch_embed\.projection\.', 'patch_embed.proj.'),
    (r'^pre_norm\.', 'norm_pre.'),
    (r'^ln1\.', 'norm.'),
    (r'^ln2\.', 'fc_norm.'),  # after the average over the patches
    (r'^layers\.', 'blocks.'),
    (r'^(blocks\.\d+)\.ln', r'\1.norm'),
    (r'^(blocks\.\d+)\.attn\.attn\.in_proj_', r'\1.attn.qkv.'),
    (r'^(blocks\.\d+)\.attn\.attn\.out_proj\.', r'\1.attn.proj.'),
    (r'^(blocks\.\d+)\.(?:attn|ffn)\.gamma(\d)\.weight$', r'\1.ls\2.gamma'),
    (r'^(blocks\.\d+)\.ffn\.layers\.0\.0\.', r'\1.mlp.fc1.'),
    (r'^(blocks\.\d+)\.ffn\.layers\.1\.', r'\1.mlp.fc2.'),
]


def knows(names: Collection[str]) -> bool:
    return 'layers.0.ln1.weight' in names


def convert(tensors: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    converted = rename(tensors, RULES)
    bias = model.state_dict().get('patch_embed.proj.bias')
    if bias is not None:  # mmseg's patches have none, which is one of zeros
        converted.setdefault('patch_embed.proj.bias', bias.new_zeros(bias.shape))
    return converted
