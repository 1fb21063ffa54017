"""timm's VisionTransformerSAM: the image encoder of Segment Anything (Kirillov et al., ICCV 2023,
https://arxiv.org/abs/2304.02643), after Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection",
ECCV 2022, https://arxiv.org/abs/2203.16527

https://github.com/huggingface/pytorch-image-models, ``timm/models/vision_transformer_sam.py``. Most layers attend in
windows. Prompts are tokens of every window, and have no position: no bias, no rotation. What a prompt is given in the
windows of its image is averaged, as in Swin (``vptx.backbones.windows``). The library's attention takes a square of
patches alone, so with prompts all its parts are called, one by one.
"""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from timm.layers import apply_rot_embed_cat, resample_abs_pos_embed_nhwc
from timm.models.vision_transformer_sam import Attention, Block, VisionTransformerSAM, get_decomposed_rel_pos_bias
from torch import Tensor, nn

from vptx.backbones.base import Context, LayerOutput
from vptx.backbones.memory import split_heads
from vptx.backbones.spelling import ReplacedForwardError, stand_in
from vptx.backbones.timm_net import TimmTransformer
from vptx.backbones.windows import Windows
from vptx.geometry import Geometry
from vptx.registry import NETS


@NETS.register_module()
class TimmSAM(TimmTransformer):
    """timm's VisionTransformerSAM: attention in windows and of all patches.

    The readouts ``mean`` and ``map`` are of the last layer; the network's own features go through its neck.

    Source: Kirillov et al. (Segment Anything), ICCV 2023, https://arxiv.org/abs/2304.02643.

    Args:
        model: a timm name such as ``'samvit_base_patch16.sa1b'``, or a built model.
        **others: of ``TimmNet``, and of ``timm.create_model`` for a name.
    """

    families: ClassVar[tuple[type[nn.Module], ...]] = (VisionTransformerSAM,)
    example: ClassVar[dict[str, Any]] = dict(model='samvit_base_patch16_224', depth=2)
    has_class_token = False
    readout = 'logits'
    around = dict(embed='patch_embed')

    def __init__(self, model: str | nn.Module, **others) -> None:
        super().__init__(model, **others)
        model, embed = self.model, self.model.patch_embed
        widths = (model.embed_dim,) * len(model.blocks)
        plain = all(self.is_known(block) for block in model.blocks)
        self.geometry = Geometry(
            widths=widths,
            patch=tuple(embed.feat_ratio(as_scalar=False)),
            image=tuple(embed.img_size),
            prefix=0,
            tokens=embed.num_patches,
            windowed=any(block.window_size for block in model.blocks) if plain else False,
            doors=frozenset({'image', 'logits'} | ({'tokens', 'inside'} if plain else set())),
            sites=self.find_sites(widths) if plain else (),
            any_size=model.rope_global is None,
            **self.facts,
        )

    def is_known(self, module: nn.Module) -> bool:
        return type(module) is Block and type(module.attn) is Attention

    def admit(self, tokens: Tensor) -> Tensor:
        return self.model.norm_pre(tokens)

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        model, (patches, grid) = self.model, self._embed_patches(image)
        if model.pos_embed is not None:
            patches = patches + resample_abs_pos_embed_nhwc(model.pos_embed, grid)
        return model.norm_pre(model.patch_drop(model.pos_drop(patches))).flatten(1, 2), Context(grid)

    def call(self, tokens: Tensor, layer: int, context: Context) -> Tensor:
        block, grid = self.module_of(layer), context.grid
        if tokens.shape[1] == grid[0] * grid[1]:
            return block(tokens.unflatten(1, grid)).flatten(1, 2)
        if not self.is_known(block) or any('forward' in vars(part) for part in (block, block.attn)):
            raise ReplacedForwardError(self.geometry.name, layer)

        def forward(x: Tensor) -> Tensor:
            x = x + block.drop_path1(block.ls1(attend(block, block.norm1(x), grid)))
            return x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))

        return stand_in(block, forward)(tokens)

    def finish(self, tokens: Tensor) -> Tensor:
        return tokens

    def finish_layer(self, output: LayerOutput) -> LayerOutput:
        # The library's norm is among the convolutions of its neck, which change the width.
        return output._replace(patches=self.model.neck(output.map).flatten(2).transpose(1, 2))

    def finish_pooled(self, feature: Tensor) -> Tensor:
        return feature

    def features(self, tokens: Tensor, context: Context) -> Tensor:
        grid = context.grid
        patches = tokens[:, tokens.shape[1] - grid[0] * grid[1] :]
        return self.model.neck(patches.unflatten(1, grid).permute(0, 3, 1, 2))

    def classify(self, tokens: Tensor, context: Context) -> Tensor:
        return self.logits(self.features(tokens, context))


def attend(block: nn.Module, x: Tensor, grid: tuple[int, int]) -> Tensor:
    """Attention of normed tokens, prompts first (B, P+N, C) -> (B, P+N, C)."""
    attn, prompts = block.attn, x.shape[1] - grid[0] * grid[1]
    size = (block.window_size, block.window_size) if block.window_size else grid
    windows = Windows(size, (0, 0), pad_first=False)
    cut = windows.cut(x[:, prompts:].unflatten(1, grid))
    count = cut.shape[1]
    cut = torch.cat([x[:, None, :prompts].expand(-1, count, -1, -1), cut], dim=2).flatten(0, 1)

    def forward(x: Tensor) -> Tensor:
        query, key, value = split_heads(attn.qkv(x), attn.num_heads)  # (B*nW, heads, P+A, d)
        query, key = attn.q_norm(query), attn.k_norm(key)
        bias = None
        if attn.use_rel_pos:
            own = query[:, :, prompts:].flatten(0, 1)
            bias = get_decomposed_rel_pos_bias(own, attn.rel_pos_h, attn.rel_pos_w, size, size)
            bias = F.pad(bias.unflatten(0, query.shape[:2]), (prompts, 0, prompts, 0))
        elif attn.rope is not None:
            turns = attn.rope.get_embed()
            query, key = (
                torch.cat([part[:, :, :prompts], apply_rot_embed_cat(part[:, :, prompts:], turns)], 2).type_as(value)
                for part in (query, key)
            )
        dropout = attn.attn_drop.p if attn.training else 0.0
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropout)
        return attn.proj_drop(attn.proj(y.transpose(1, 2).flatten(2)))

    y = stand_in(attn, forward)(cut).unflatten(0, (-1, count))
    return torch.cat([y[:, :, :prompts].mean(1), windows.join(y[:, :, prompts:], grid).flatten(1, 2)], dim=1)
