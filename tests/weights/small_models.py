"""Small vision transformers of timm, for what is tested beside this file."""

import timm
import torch
from torch import Tensor, nn

SIZE = 32
TINY = dict(img_size=SIZE, patch_size=8, embed_dim=32, depth=3, num_heads=4, mlp_ratio=2, num_classes=0)


def vit(name: str = 'vit_base_patch16_224', **arguments) -> nn.Module:
    return timm.create_model(name, **{**TINY, **arguments})


def drawn(model: nn.Module, seed: int = 0) -> nn.Module:
    """``model`` with numbers in which every tensor makes a difference, in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith('running_var'):
                tensor.uniform_(0.5, 2, generator=generator)
            elif tensor.is_floating_point():
                noise = 0.2 * torch.randn(tensor.shape, generator=generator)
                tensor.copy_(noise if tensor.dim() > 1 else tensor + noise)
    model.eval()  # mmpretrain's returns nothing
    return model


def images(size: int = SIZE) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
