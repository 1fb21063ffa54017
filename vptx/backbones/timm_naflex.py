"""timm's NaFlexVit, SigLIP 2's tower among them. Tschannen et al., "SigLIP 2", 2025, https://arxiv.org/abs/2502.14786;
Dehghani et al., "Patch n' Pack: NaViT", NeurIPS 2023, https://arxiv.org/abs/2307.06304

https://github.com/huggingface/pytorch-image-models, ``timm/models/naflexvit.py``. Images are tensors of one size each
batch; pre-cut patches of images of different sizes are not taken. Its blocks are those of a ViT or, with rotary
positions, those of EVA.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from timm.models import get_model_input_config
from timm.models.eva import EvaBlock
from timm.models.naflexvit import NaFlexVit, batch_patchify
from torch import Tensor, nn

from vptx.backbones.base import Context
from vptx.backbones.timm_eva import TimmEva
from vptx.backbones.timm_net import divides
from vptx.backbones.timm_vit import TimmViT
from vptx.registry import NETS


@NETS.register_module()
class TimmNaFlex(TimmEva):
    """timm's NaFlexVit: SigLIP 2 and others, at any image size.

    Source: Tschannen et al. (SigLIP 2), 2025, https://arxiv.org/abs/2502.14786; Dehghani et al. (NaViT), NeurIPS 2023,
    https://arxiv.org/abs/2307.06304.

    Args:
        model: a timm name such as ``'naflexvit_base_patch16_siglip.v2_webli'``, or a built model.
        **others: of ``TimmNet``, and of ``timm.create_model`` for a name.
    """

    families: ClassVar[tuple[type[nn.Module], ...]] = (NaFlexVit,)
    built_with: ClassVar[dict[str, Any]] = dict(num_classes=0)
    example: ClassVar[dict[str, Any]] = dict(model='naflexvit_base_patch16_gap', depth=2)
    replaced: Mapping[str, tuple[type[nn.Module], ...]] = {
        name: (*TimmViT.replaced.get(name, ()), *TimmEva.replaced.get(name, ()))
        for name in {**TimmViT.replaced, **TimmEva.replaced}
    }

    around: Mapping[str, str] = dict(embed='embeds.norm', norm='norm')

    @property
    def _patch_embed(self) -> nn.Module:
        return self.model.embeds

    @property
    def _image_size(self) -> tuple[int, int]:
        height, width = get_model_input_config(self.model)['input_size'][1:]
        return height, width

    @property
    def _takes_any_size(self) -> bool:
        return True

    def is_known(self, module: nn.Module) -> bool:
        return super().is_known(module) if isinstance(module, EvaBlock) else TimmViT.is_known(self, module)

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        model, size = self.model, tuple(image.shape[-2:])
        if model.embeds.is_linear and not divides(model.embeds, size):
            raise ValueError(self._refusal(size))
        embedded = model._forward_embeds(image, None, None, None)
        grid = model.embeds.dynamic_feat_size(size)
        return embedded['patches'], Context(grid, embedded['rope_embeds'])

    def call(self, tokens: Tensor, layer: int, context: Context) -> Tensor:
        if context.positions is None:
            return self._block(layer)(tokens)
        return super().call(tokens, layer, context)

    def patch_modules(self) -> tuple[Callable[[Tensor], Tensor], nn.Module | None]:
        embeds = self.model.embeds
        if not embeds.is_linear:
            return embeds.proj, embeds.norm

        def project(image: Tensor) -> Tensor:
            patches, grid = batch_patchify(image, embeds.patch_size, channels_last=embeds.channels_last)
            return embeds.proj(patches).transpose(1, 2).unflatten(2, grid)

        return project, embeds.norm
