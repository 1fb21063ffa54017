"""The vision transformers of Hugging Face's transformers whose layers are alike: ViT, DeiT, DINOv2 with and without
registers, DINOv3, CLIP's and SigLIP's image towers.

https://github.com/huggingface/transformers, ``src/transformers/models/<module>/modeling_<module>.py``. Queries, keys
and values are three maps there, so LoRA's sites are ``q``, ``k`` and ``v``. DINOv3 turns queries and keys of patches by
their place; a prompt has none and is not turned.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vptx.backbones.base import Context
from vptx.backbones.hugging_face import HALF, IMAGENET, Family, HuggingFaceNet
from vptx.backbones.memory import SelfAttention, Spelling, same
from vptx.geometry import Geometry, Site
from vptx.registry import NETS

__all__ = ['HuggingFaceViT']

_CLIP_PIXELS = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_VIT = dict(
    layers='layers',
    stem='embeddings.patch_embeddings.projection',
    parts=('layernorm_before', 'attention', 'o_proj', 'layernorm_after'),
)
_DINO = dict(
    layers='encoder.layer',
    stem='embeddings.patch_embeddings.projection',
    parts=('norm1', 'attention', 'o_proj', 'norm2'),
)
_CLIP = dict(
    layers='encoder.layers',
    stem='embeddings.patch_embedding',
    parts=('layer_norm1', 'self_attn', 'out_proj', 'layer_norm2'),
)


def _family(module: str, prefix: str, pixels: tuple, where: Mapping[str, Any], **changes: Any) -> Family:
    """One whose classes are named alike."""
    names = dict(
        encoder=f'{prefix}Model',
        block=f'{prefix}Layer',
        attention=f'{prefix}Attention',
        heads=(f'{prefix}ForImageClassification',),
    )
    return Family(module, pixels=pixels, **{**names, **where, **changes})


@NETS.register_module()
class HuggingFaceViT(HuggingFaceNet):
    """Vision transformers of Hugging Face's transformers: ViT, DeiT, DINOv2, DINOv3, CLIP, SigLIP, bare or with a head.

    Where the convolution of the patches stands alone (DINOv3, CLIP, SigLIP), the site ``embed`` is missing, so SSF
    scales all but that one.

    Args:
        model: as of ``HuggingFaceNet``.
        **others: as of ``HuggingFaceNet``.
    """

    example: ClassVar[dict[str, Any]] = dict(model=dict(model_type='vit', num_hidden_layers=2, num_labels=1000))
    families: ClassVar[Sequence[Family]] = (
        _family('vit', 'ViT', HALF, _VIT),
        _family(
            'deit',
            'DeiT',
            IMAGENET,
            _VIT,
            heads=('DeiTForImageClassification', 'DeiTForImageClassificationWithTeacher'),
        ),
        _family('dinov2', 'Dinov2', IMAGENET, _DINO),
        _family('dinov2_with_registers', 'Dinov2WithRegisters', IMAGENET, _DINO),
        _family(
            'dinov3_vit',
            'DINOv3ViT',
            IMAGENET,
            _DINO,
            layers='model.layer',
            stem='embeddings.patch_embeddings',
            norm='norm',
        ),
        _family(
            'clip',
            'CLIP',
            _CLIP_PIXELS,
            _CLIP,
            encoder='CLIPVisionModel',
            block='CLIPEncoderLayer',
            heads=('CLIPForImageClassification', 'CLIPVisionModelWithProjection'),
            norm='',
        ),
        _family(
            'siglip',
            'Siglip',
            HALF,
            _CLIP,
            encoder='SiglipVisionModel',
            block='SiglipEncoderLayer',
            norm='post_layernorm',
        ),
    )

    def __init__(self, model: str | dict | nn.Module, **others) -> None:
        super().__init__(model, **others)
        config, blocks = self.config, self._blocks
        width, depth = config.hidden_size, len(blocks)
        self.replaced = self.family.replaced()
        plain = all(self.is_known(block) for block in blocks)
        facts = self._common(config.image_size, config.patch_size, depth, width)
        grid = [side // size for side, size in zip(facts['image'], facts['patch'], strict=True)]
        prefix = self._count_prefix()
        attentions: Any = [self._attention_of(block) for block in blocks]
        sites = self._find_sites()
        self.has_class_token = prefix > 0
        self.geometry = Geometry(
            widths=(width,) * depth,
            prefix=prefix,
            tokens=prefix + grid[0] * grid[1],
            doors=frozenset({'image', 'tokens', 'inside', 'logits'} | ({'memory'} if plain else set())),
            sites=sites,
            heads=tuple(attn.q_proj.out_features // attn.head_dim for attn in attentions) if plain else (),
            head_widths=tuple(attn.head_dim for attn in attentions) if plain else (),
            **facts,
        )
        self.readout = self._find_readout()

    def _count_prefix(self) -> int:
        embeddings: Any = self.encoder.embeddings
        number = sum(hasattr(embeddings, name) for name in ('cls_token', 'class_embedding', 'distillation_token'))
        return number + (embeddings.register_tokens.shape[1] if hasattr(embeddings, 'register_tokens') else 0)

    def _find_readout(self) -> str:
        """The pooling that the head of the model has, where that is a readout."""
        if self.family.module == 'siglip':
            return 'mean' if self.has_head or not self.encoder.use_head else 'logits'
        if not self.has_head or self.family.module in ('vit', 'deit'):
            return 'cls'
        return 'logits'

    @property
    def _blocks(self) -> nn.ModuleList:
        return self.encoder.get_submodule(self.family.layers)

    def _attention_of(self, block: nn.Module) -> nn.Module:
        return block.get_submodule(self.family.parts[1])

    def _find_sites(self) -> tuple[Site, ...]:
        width, found = self.config.hidden_size, list[Site]()
        if self.stem.endswith('.projection'):
            found.append(Site('embed', None, 0, width))
        for layer, block in enumerate(self._blocks):
            found += self.family.sites(block, layer, width)
        if self.family.norm and isinstance(self.encoder.get_submodule(self.family.norm), nn.LayerNorm):
            found.append(Site('norm', None, width, width))
        return tuple(found)

    def module_at(self, site: Site) -> nn.Module:
        if site.layer is None:
            return self.encoder.get_submodule(
                'embeddings.patch_embeddings' if site.name == 'embed' else self.family.norm
            )
        block = self.module_of(site.layer)
        return block.get_submodule(self.family.places(block)[site.name])

    def module_of(self, layer: int) -> nn.Module:
        return self._blocks[layer]

    def is_known(self, module: nn.Module) -> bool:
        attn = self._attention_of(module)
        scale = getattr(attn, 'scaling', None) or getattr(attn, 'scale', None)
        known = type(module) in self.replaced[''] and type(attn) in self.replaced[self.family.parts[1]]
        return known and scale == attn.head_dim**-0.5

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        image, encoder = self._check_image(image), self.encoder
        embeddings = self._embeddings()
        options = {}
        if tuple(image.shape[-2:]) != self.geometry.image and self.fixed_size:
            options = dict(interpolate_pos_encoding=True)
        tokens = embeddings(image, **options)
        turns = torch.stack(encoder.rope_embeddings(image)) if hasattr(encoder, 'rope_embeddings') else None
        return self.admit(tokens), Context(self._grid(image), turns)

    def admit(self, tokens: Tensor) -> Tensor:
        return getattr(self.encoder, 'pre_layrnorm', same)(tokens)  # of CLIP

    def patch_modules(self) -> tuple[Callable[[Tensor], Tensor], nn.Module | None]:
        return self.model.get_submodule(self.stem), None

    def call(self, tokens: Tensor, layer: int, context: Context) -> Tensor:
        if context.positions is None:
            return self.module_of(layer)(tokens, None)
        return self.module_of(layer)(tokens, position_embeddings=tuple(context.positions.unbind()))

    def spelling(self, layer: int, context: Context | None = None, length: int = 0) -> Spelling:
        block = self.module_of(layer)
        norm1, attention, last, norm2 = map(block.get_submodule, self._paths())

        def feed(x: Tensor) -> Tensor:
            return x + _branch(block, 2, block.mlp(norm2(x)))

        return Spelling(norm1, self._attention(attention, context, length), lambda x: _branch(block, 1, last(x)), feed)

    def _paths(self) -> tuple[str, str, str, str]:
        norm1, attention, last, norm2 = self.family.parts
        return norm1, attention, f'{attention}.{last}', norm2

    def _attention(self, attn: nn.Module, context: Context | None, length: int) -> SelfAttention:
        dropout = getattr(attn, 'attention_dropout', None)
        dropout = attn.dropout if dropout is None else dropout
        heads = attn.q_proj.out_features // attn.head_dim
        packed = SelfAttention(*_packed(attn), heads, dropout if attn.training else 0.0)
        if context is not None and context.positions is not None:
            packed.turn = self._turning(context.positions)
        return packed

    def _turning(self, turns: Tensor) -> Callable[[Tensor], Tensor]:
        """Cosines and sines (2, N, d) -> what turns the last N of (B, heads, M, d) by them."""
        cosine, sine = turns

        def turn(x: Tensor) -> Tensor:
            first = x.shape[2] - cosine.shape[0]
            patches = x[:, :, first:]
            low, high = patches.chunk(2, dim=-1)
            patches = patches * cosine + torch.cat([-high, low], dim=-1) * sine
            return torch.cat([x[:, :, :first], patches], dim=2)

        return turn

    def key_value_weights(self, layer: int) -> tuple[Tensor, Tensor]:
        attn = self._attention_of(self.module_of(layer))
        return attn.k_proj.weight, attn.v_proj.weight

    def finish_pooled(self, feature: Tensor) -> Tensor:
        if self.family.module == 'clip':
            return self.encoder.post_layernorm(feature)
        return feature

    def pool(self, tokens: Tensor) -> Tensor | None:
        encoder = self.encoder
        if hasattr(encoder, 'pooler'):
            return None if encoder.pooler is None else encoder.pooler(tokens)
        if self.family.module == 'siglip':
            return encoder.head(tokens) if encoder.use_head else None
        return self.finish_pooled(tokens[:, 0])


def _packed(attn: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Weights (3 * heads * d, D) and biases of queries, keys and values, one above the other."""
    maps: Any = (attn.q_proj, attn.k_proj, attn.v_proj)
    weight = torch.cat([part.weight for part in maps])
    if all(part.bias is None for part in maps):
        return weight, None
    biases = [part.weight.new_zeros(part.out_features) if part.bias is None else part.bias for part in maps]
    return weight, torch.cat(biases)


def _branch(block: nn.Module, number: int, x: Tensor) -> Tensor:
    """What a layer does to the output of its attention (1) or MLP (2) before the shortcut."""
    for name in ('dropout', f'layer_scale{number}'):
        x = getattr(block, name, same)(x)
    if hasattr(block, f'lambda_{number}'):
        x = getattr(block, f'lambda_{number}') * x
    return getattr(block, 'drop_path', same)(x)
