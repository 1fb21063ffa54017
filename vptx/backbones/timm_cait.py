"""timm's Cait. Touvron et al., "Going deeper with Image Transformers", ICCV 2021, https://arxiv.org/abs/2103.17239

https://github.com/huggingface/pytorch-image-models, ``timm/models/cait.py``. Patches go through the first layers alone;
in the last ones a class token attends to them, and they stay as they are. The class token is here from the start, so
that its place is the same in all layers. Prompts are tokens: heads of attention are mixed, which no keys and values of
prompts alone can go through.
"""

from typing import Any, ClassVar

import torch
from timm.models.cait import Cait
from torch import Tensor, nn

from vptx.backbones.base import Context
from vptx.backbones.timm_net import TimmTransformer
from vptx.geometry import Geometry
from vptx.registry import NETS


@NETS.register_module()
class TimmCait(TimmTransformer):
    """timm's CaiT: layers of the patches, then layers of the class token, with prompts among what they attend to.

    It takes images of the one size that it was built for.

    Source: Touvron et al., ICCV 2021, https://arxiv.org/abs/2103.17239.

    Args:
        model: a timm name such as ``'cait_s24_224.fb_dist_in1k'``, or a built model.
        **others: of ``TimmNet``, and of ``timm.create_model`` for a name.
    """

    families: ClassVar[tuple[type[nn.Module], ...]] = (Cait,)
    rewritten: ClassVar[tuple[str, ...]] = ('forward', 'forward_features', 'forward_cls')
    example: ClassVar[dict[str, Any]] = dict(model='cait_xxs24_224', depth=2)
    has_class_token = True

    def __init__(self, model: str | nn.Module, **others) -> None:
        super().__init__(model, **others)
        model, embed = self.model, self.model.patch_embed
        depth = len(model.blocks) + len(model.blocks_token_only)
        widths = (model.embed_dim,) * depth
        self.geometry = Geometry(
            widths=widths,
            patch=tuple(embed.feat_ratio(as_scalar=False)),
            image=tuple(embed.img_size),
            prefix=1,
            tokens=1 + embed.num_patches,
            doors=frozenset({'image', 'tokens', 'inside', 'logits'}),
            sites=self.find_sites(widths),
            any_size=False,
            **self.facts,
        )
        self.readout = {'token': 'cls', 'avg': 'mean'}.get(str(model.global_pool), 'logits')

    @property
    def intermediates(self) -> tuple[int, ...]:
        return tuple(range(len(self.model.blocks)))

    def module_of(self, layer: int) -> nn.Module:
        first = len(self.model.blocks)
        return self.model.blocks[layer] if layer < first else self.model.blocks_token_only[layer - first]

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        model, (patches, grid) = self.model, self._embed_patches(image)
        patches = model.pos_drop(patches + model.pos_embed)
        return torch.cat([model.cls_token.expand(patches.shape[0], -1, -1), patches], dim=1), Context(grid)

    def call(self, tokens: Tensor, layer: int, context: Context) -> Tensor:
        block, class_token, rest = self.module_of(layer), tokens[:, :1], tokens[:, 1:]
        if layer < len(self.model.blocks):
            return torch.cat([class_token, block(rest)], dim=1)
        return torch.cat([block(rest, class_token), rest], dim=1)

    def finish_pooled(self, feature: Tensor) -> Tensor:
        return feature

    def classify(self, tokens: Tensor, context: Context) -> Tensor:
        return self.logits(tokens)
