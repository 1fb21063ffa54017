"""Vision models of Hugging Face's transformers, as the hub has them and as version 5 names them in memory: ViT, DeiT,
DINOv2 with and without registers, DINOv3, CLIP and SigLIP (the image tower), BEiT, Swin.

https://github.com/huggingface/transformers, ``src/transformers/models/<module>/modeling_<module>.py``. Queries, keys
and values are apart there, and their biases too, of which some are missing.
"""

import re
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from .rename import Rules, rename

NAME = "Hugging Face's names"

_PREFIX = r'^(?:vit|deit|dinov2|dinov2_with_registers|beit|swin|vision_model)\.'
_ATTENTION = r'^(blocks\.\d+|layers\.\d+\.blocks\.\d+)\.(?:attention\.(?:attention|self)|attention|self_attn)\.'
_LAYER = r'^(blocks\.\d+|layers\.\d+\.blocks\.\d+)\.'
_RULES: Rules = [
    (_PREFIX, ''),
    (r'^(?:cls_)?classifier\.|^visual_projection\.', 'head.'),
    (r'^distillation_classifier\.', 'head_dist.'),
    (r'^head\.(probe$|attention\.|layernorm\.|mlp\.)', r'attn_pool.\1'),
    (r'^attn_pool\.probe$', 'attn_pool.latent'),
    (r'^attn_pool\.attention\.', 'attn_pool.'),
    (r'^attn_pool\.out_proj\.', 'attn_pool.proj.'),
    (r'^attn_pool\.layernorm\.', 'attn_pool.norm.'),
    (r'^embeddings\.(?:cls_token|class_embedding)$', 'cls_token'),
    (r'^embeddings\.distillation_token$', 'dist_token'),
    (r'^embeddings\.(?:position_embeddings|position_embedding\.weight)$', 'pos_embed'),
    (r'^embeddings\.patch_embeddings?\.(?:projection\.)?', 'patch_embed.proj.'),
    (r'^embeddings\.norm\.', 'patch_embed.norm.'),
    (r'^pre_layrnorm\.', 'norm_pre.'),
    (r'^(?:layernorm|post_layernorm)\.', 'norm.'),
    (r'^pooler\.layernorm\.', 'fc_norm.'),
    # Swin's layers are stages.
    (r'^encoder\.layers\.(\d+)\.(blocks|downsample)\.', r'layers.\1.\2.'),
    (r'^(?:encoder\.layers?|model\.layer|layers?)\.(\d+)\.(?!blocks\.|downsample\.)', r'blocks.\1.'),
    (r'^encoder\.relative_position_bias\.|^shared_position_bias\.', 'rel_pos_bias.'),
    (_LAYER + r'attention\.output\.dense\.', r'\1.attn.proj.'),
    (_LAYER + r'(?:attention|self_attn)\.(?:o_proj|out_proj)\.', r'\1.attn.proj.'),
    (_ATTENTION + r'(?:query|q_proj)\.', r'\1.attn.q.'),
    (_ATTENTION + r'(?:key|k_proj)\.', r'\1.attn.k.'),
    (_ATTENTION + r'(?:value|v_proj)\.', r'\1.attn.v.'),
    (_ATTENTION + r'(?:relative_position_bias\.)?relative_position', r'\1.attn.relative_position'),
    (_LAYER + r'relative_position_bias\.', r'\1.attn.'),
    (_LAYER + r'(?:layernorm_before|layer_norm1)\.', r'\1.norm1.'),
    (_LAYER + r'(?:layernorm_after|layer_norm2)\.', r'\1.norm2.'),
    (_LAYER + r'intermediate\.dense\.', r'\1.mlp.fc1.'),
    (_LAYER + r'(?:output\.dense|mlp\.weights_out|mlp\.down_proj)\.', r'\1.mlp.fc2.'),
    (_LAYER + r'mlp\.weights_in\.', r'\1.mlp.fc1.'),
    (_LAYER + r'layer_scale(\d)\.lambda1$', r'\1.ls\2.gamma'),
    (_LAYER + r'lambda_(\d)$', r'\1.gamma_\2'),
]
#: next to the image tower of a file, what no network for images has a use for.
_ELSEWHERE = re.compile(
    r'^(?:text_model|text_projection|logit_scale|logit_bias|pooler\.dense|lm_head|decoder)\b'
    r'|^embeddings\.(?:mask_token|position_ids)$|relative_position_index$|^rope_embeddings\.'
)
_FIRST = re.compile(r'(?:^|\.)embeddings\.patch_embeddings?\.(?:projection\.)?weight$')


def knows(names: Collection[str]) -> bool:
    return any(_FIRST.search(name) for name in names)


def convert(tensors: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """
    Raises:
        ValueError: a tensor of no part that is known.
    """
    own = model.state_dict().keys()
    aside = {name: value for name, value in tensors.items() if _ELSEWHERE.search(re.sub(_PREFIX, '', name))}
    found = rename({name: value for name, value in tensors.items() if name not in aside}, _RULES)
    _shape(found)
    _join_attention(found, own)
    _join_gates(found, own)
    _place_registers(found)
    for name in [name for name in found if re.search(r'\.ls\d\.gamma$', name)]:
        short = re.sub(r'\.ls(\d)\.gamma$', r'.gamma_\1', name)
        if name not in own and short in own:
            found[short] = found.pop(name)
    if 'head.weight' in found and 'head.bias' in own:  # a projection of CLIP has none
        found.setdefault('head.bias', found['head.weight'].new_zeros(len(found['head.weight'])))
    strange = [name for name in found if not _is_known(name)]
    if strange:
        raise ValueError(
            f'of the tensors in {NAME}, these are of no part that is known: {", ".join(strange[:5])}'
            f'{f" and {len(strange) - 5} more" if len(strange) > 5 else ""}'
        )
    return {**found, **aside}


def _is_known(name: str) -> bool:
    known = r'blocks|layers|norm|norm_pre|fc_norm|patch_embed|attn_pool|head|head_dist|rel_pos_bias'
    tokens = r'cls_token|dist_token|reg_token|register_tokens|pos_embed|mask_token'
    strange = r'\.(?:attention|self_attn|intermediate|output|encoder)\.'
    return bool(re.match(rf'(?:(?:{known})\.|(?:{tokens})$)', name)) and not re.search(strange, name)


def _shape(found: dict[str, Tensor]) -> None:
    """Tokens and positions as timm has them, (1, n, D)."""
    for name in ('cls_token', 'pos_embed'):
        if name in found:
            found[name] = found[name].reshape(1, -1, found[name].shape[-1])
    if 'attn_pool.in_proj_weight' in found:
        for kind in ('weight', 'bias'):
            query, key, value = found.pop(f'attn_pool.in_proj_{kind}').chunk(3)
            found |= {f'attn_pool.q.{kind}': query, f'attn_pool.kv.{kind}': torch.cat([key, value])}


def _join_attention(found: dict[str, Tensor], own: Collection[str]) -> None:
    """Queries, keys and values, one above the other or apart, as the model has them. A missing bias is one of zeros."""
    for query in [name for name in found if name.endswith('.attn.q.weight')]:
        start = query.removesuffix('q.weight')
        if f'{start}q_proj.weight' in own:
            for part in 'qkv':
                for kind in ('weight', 'bias'):
                    if f'{start}{part}.{kind}' in found:
                        found[f'{start}{part}_proj.{kind}'] = found.pop(f'{start}{part}.{kind}')
            continue
        weights = [found.pop(f'{start}{part}.weight') for part in 'qkv' if f'{start}{part}.weight' in found]
        given = {part: found.pop(f'{start}{part}.bias') for part in 'qkv' if f'{start}{part}.bias' in found}
        found[f'{start}qkv.weight'] = torch.cat(weights)
        rows = len(weights[0])
        biases = {part: given.get(part, weights[0].new_zeros(rows)) for part in 'qkv'}
        if f'{start}q_bias' in own:
            found |= {f'{start}q_bias': biases['q'], f'{start}v_bias': biases['v']}
            if biases['k'].any():
                found[f'{start}k_bias'] = biases['k']
        elif f'{start}qkv.bias' in own or any(bias.any() for bias in given.values()):
            found[f'{start}qkv.bias'] = torch.cat(list(biases.values()))


def _join_gates(found: dict[str, Tensor], own: Collection[str]) -> None:
    """The two maps of a gated MLP, apart or one above the other, as the model has them; ``up_proj`` of another."""
    for name in [name for name in found if '.mlp.up_proj.' in name]:
        gate, first = name.replace('up_proj', 'gate_proj'), name.replace('up_proj', 'fc1')
        if gate not in found:
            found[first] = found.pop(name)
        elif first.replace('fc1', 'fc1_g') in own:
            found[first.replace('fc1', 'fc1_g')] = found.pop(gate)
            found[first.replace('fc1', 'fc1_x')] = found.pop(name)
        else:
            found[first] = torch.cat([found.pop(gate), found.pop(name)])


def _place_registers(found: dict[str, Tensor]) -> None:
    """Registers as DINOv2's authors name them, whose class token has a position that timm adds to it; or as timm does,
    where there are no learnt positions."""
    if 'embeddings.register_tokens' not in found:
        return
    tokens = found.pop('embeddings.register_tokens')
    if not tokens.numel():  # none of them
        return
    if 'pos_embed' in found:
        found |= {'register_tokens': tokens, 'mask_token': tokens.new_zeros(1, tokens.shape[-1])}
    else:
        found['reg_token'] = tokens
