"""Tiny networks: at least one for every net in the registry, small enough to ask each of them everything.

Each is a bare model of its library, random, with weights large enough that a prompt makes a difference.
"""

import inspect
from collections.abc import Callable
from copy import deepcopy
from functools import cache, partial

import pytest
import timm
import torch
import torchvision
from timm.layers import GroupNormAct, StdConv2d
from timm.models.vision_transformer import ParallelScalingBlock, ResPostBlock
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vptx.registry import MAPPINGS, PROMPTERS

SIZE, PATCH, WIDTH, DEPTH, HEADS, CLASSES = 32, 8, 32, 3, 4, 7
GRID = SIZE // PATCH

_vit = partial(
    timm.create_model,
    img_size=SIZE,
    patch_size=PATCH,
    embed_dim=WIDTH,
    depth=DEPTH,
    num_heads=HEADS,
    num_classes=CLASSES,
    dynamic_img_size=True,
)

_beit = partial(_vit, 'beit_base_patch16_224', dynamic_img_size=None)  # which it does not take
# Of the same size in all that prompts meet: width and grid of the last map, the size of the images.
_convnet = partial(
    timm.create_model,
    num_classes=CLASSES,
    output_stride=PATCH,
    pretrained_cfg_overlay=dict(input_size=(3, SIZE, SIZE)),
)
_resnet = partial(_convnet, layers=(1, 1, 1, 1))
# Two stages of two layers: maps of 8 x 8 and of 4 x 4 patches.
_swin = partial(
    timm.create_model,
    img_size=SIZE,
    embed_dim=WIDTH // 2,
    depths=(2, 2),
    num_heads=(2, 4),
    window_size=4,
    num_classes=CLASSES,
    dynamic_img_size=True,
)

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    'plain': partial(_vit, 'vit_base_patch16_224'),
    'no qkv bias': partial(_vit, 'vit_base_patch16_224', qkv_bias=False, num_heads=2),
    'averaged': partial(_vit, 'vit_base_patch16_224', global_pool='avg'),  # with a norm after the average
    'distilled': partial(_vit, 'deit_tiny_distilled_patch16_224'),  # two prefix tokens, two classifiers
    'clip': partial(_vit, 'vit_base_patch16_clip_224'),  # a norm in front
    'registers': partial(_vit, 'vit_small_patch14_reg4_dinov2', init_values=0.5),  # and layer scale
    'no class token': partial(_vit, 'vit_base_patch16_siglip_gap_224'),
    'attention pooling': partial(_vit, 'vit_base_patch16_siglip_224'),
    'layer scale': partial(_vit, 'vit_base_patch16_224', init_values=0.5),
    'query-key norm': partial(_vit, 'vit_base_patch16_224', qk_norm=True),
    'drop path': partial(_vit, 'vit_base_patch16_224', drop_path_rate=0.2, proj_drop_rate=0.1, attn_drop_rate=0.1),
    # Blocks that are not taken apart further, so without door 3.
    'parallel blocks': partial(_vit, 'vit_base_patch16_224', block_fn=ParallelScalingBlock),
    'post-norm blocks': partial(_vit, 'vit_base_patch16_224', block_fn=ResPostBlock, init_values=0.5),
    # Rotary positions beside learnt ones, or alone.
    'EVA-02': partial(_vit, 'eva02_base_patch14_224', mlp_ratio=2, drop_path_rate=0.2),
    'DINOv3': partial(_vit, 'vit_small_patch16_dinov3', mlp_ratio=2),
    # Relative positions: a table of each layer; one image size.
    'BEiT': partial(_beit, init_values=0.5, drop_path_rate=0.2),
    # No tokens, so door 1 alone.
    'ResNet': partial(_resnet, 'resnet18', channels=(8, 8, 16, WIDTH)),
    'ConvNeXt': partial(_convnet, 'convnext_atto', depths=(1, 1, 1, 1), dims=(8, 8, 16, WIDTH)),
    'torchvision': partial(  # torch.nn's own attention; one image size
        torchvision.models.VisionTransformer,
        SIZE,
        PATCH,
        DEPTH,
        HEADS,
        WIDTH,
        2 * WIDTH,
        dropout=0.1,
        num_classes=CLASSES,
    ),
    'swin': partial(_swin, 'swin_base_patch4_window7_224'),  # shifted windows, and a last map that is one window
    'swin, window does not divide': partial(_swin, 'swin_base_patch4_window7_224', window_size=3, drop_path_rate=0.2),
    'swin, map smaller than window': partial(
        _swin, 'swin_base_patch4_window7_224', window_size=(5, 6), always_partition=True, qkv_bias=False
    ),
    'swin, odd maps': partial(
        _swin, 'swin_base_patch4_window7_224', patch_size=8, depths=(1, 2, 1), num_heads=(1, 2, 4), embed_dim=WIDTH // 4
    ),
    'swin v2': partial(_swin, 'swinv2_base_window8_256'),
    'swin v2, window does not divide': partial(_swin, 'swinv2_base_window8_256', window_size=3),
}
# What differs from those inside a block or a stem, and is asked only what concerns the network alone.
VARIANTS: dict[str, Callable[[], nn.Module]] = {
    'DeiT III': partial(_vit, 'deit3_small_patch16_224'),  # a class token without a position
    'EVA': partial(_vit, 'eva_giant_patch14_224', mlp_ratio=2),  # no rotary positions
    'unfused EVA-02': partial(_vit, 'eva02_large_patch14_224', mlp_ratio=2, attn_drop_rate=0.1),
    'post-norm EVA-02': partial(_vit, 'eva02_enormous_patch14_clip_224', mlp_ratio=2),
    'mixed rotations': partial(_vit, 'vit_small_patch16_rope_mixed_224'),  # of each layer its own
    'Perception Encoder': partial(_vit, 'vit_pe_core_tiny_patch16_384'),
    'BEiT with one table': partial(_beit, use_rel_pos_bias=False, use_shared_rel_pos_bias=True),
    'BEiT with both': partial(_beit, use_shared_rel_pos_bias=True, use_abs_pos_emb=True, global_pool='token'),
    'BEiT with none': partial(_beit, use_rel_pos_bias=False, use_abs_pos_emb=True),
    # Kernels that are standardised before they are used.
    'BiT': partial(
        _resnet,
        'resnetv2_50',
        channels=(8, 8, 16, WIDTH),
        stem_chs=8,
        conv_layer=StdConv2d,
        norm_layer=partial(GroupNormAct, num_groups=4),
    ),
    'ResNeXt': partial(_resnet, 'resnext50_32x4d', channels=(4, 4, 4, WIDTH // 4), cardinality=2, base_width=32),
    'ResNet-D': partial(_resnet, 'resnet18d', channels=(8, 8, 16, WIDTH), stem_width=4),
}


_VIT = dict(embed_dims=WIDTH, num_layers=DEPTH, num_heads=HEADS)
_SWIN = dict(embed_dims=WIDTH // 2, depths=[2, 2], num_heads=[2, 4])


def _mmpretrain(kind: str, **arguments) -> nn.Module:
    import mmpretrain.models

    return getattr(mmpretrain.models, kind)(img_size=SIZE, **arguments)


def _mmseg(kind: str, **arguments) -> nn.Module:
    backbones = pytest.importorskip('mmseg.models.backbones')
    return getattr(backbones, kind)(**arguments)


_pretrain_vit = partial(
    _mmpretrain, 'VisionTransformer', arch=dict(_VIT, feedforward_channels=2 * WIDTH), patch_size=PATCH
)
_pretrain_swin = partial(_mmpretrain, 'SwinTransformer', arch=_SWIN)
_seg_vit = partial(_mmseg, 'VisionTransformer', img_size=SIZE, patch_size=PATCH, **_VIT)
_seg_swin = partial(_mmseg, 'SwinTransformer', pretrain_img_size=SIZE, strides=(4, 2), **_SWIN)

#: OpenMMLab's own: without a classifier, with a tuple of outputs.
BACKBONES: dict[str, Callable[[], nn.Module]] = {
    'mmpretrain vit': _pretrain_vit,
    'mmpretrain vit, raw': partial(_pretrain_vit, out_type='raw', out_indices=[0, 2], layer_scale_init_value=0.5),
    'mmpretrain vit, maps': partial(_pretrain_vit, out_type='featmap', with_cls_token=False, pre_norm=True),
    'mmpretrain vit, averaged': partial(_pretrain_vit, out_type='avg_featmap', final_norm=False, drop_path_rate=0.2),
    'mmpretrain swin': partial(_pretrain_swin, window_size=4, out_indices=(1,), use_abs_pos_embed=True),
    'mmpretrain swin, padded': partial(_pretrain_swin, window_size=5, pad_small_map=True, out_indices=(0, 1)),
    'mmseg vit': partial(_seg_vit, out_indices=(0, 2)),
    'mmseg vit, with class token': partial(
        _seg_vit, out_indices=(0, 2), output_cls_token=True, final_norm=True, pre_norm=True, drop_path_rate=0.2
    ),
    'mmseg vit, without class token': partial(_seg_vit, with_cls_token=False),
    'mmseg swin': partial(_seg_swin, window_size=4, out_indices=(0, 1)),
    'mmseg swin, map smaller than window': partial(_seg_swin, window_size=5, out_indices=(1,)),
}


@cache
def _drawn(name: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = {**NETWORKS, **VARIANTS, **BACKBONES}[name]()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(std=0.2)
                else:
                    parameter.add_(0.1 * torch.randn_like(parameter))
    model.eval()  # mmpretrain's returns None
    return model


def tiny(name: str = 'plain') -> nn.Module:
    """A network of one of the tables above, in eval mode, the same numbers every time."""
    return deepcopy(_drawn(name))


def classifier(network: str) -> str:
    """Name of the part that classifies."""
    name = getattr(tiny(network), 'pretrained_cfg', dict(classifier='heads.head'))['classifier']
    return name if isinstance(name, str) else name[0]


MIDDLES = ('blocks.1', 'stages.2', 'layer3', 'layers.1', 'encoder.layers.encoder_layer_1')


def middle(network: str) -> str:
    """Name of a part in the middle."""
    names = {name for name, _ in tiny(network).named_modules()}
    return next(name for name in MIDDLES if name in names)


def images(batch: int = 2, size: tuple[int, int] = (SIZE, SIZE), seed: int = 0) -> Tensor:
    """Random images (batch, 3, height, width)."""
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(seed))


class Seen(TorchFunctionMode):
    """Notes the shapes of what goes into ``function``, without a hook, which would be noticed."""

    def __init__(self, function: Callable) -> None:
        super().__init__()
        self.function, self.shapes = function, []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is self.function:
            self.shapes.append(tuple(args[0].shape))
        return func(*args, **(kwargs or {}))


def every_row(prompted: nn.Module) -> nn.Module:
    """A copy of a prompted network that computes all rows of the last layer, whoever reads them."""
    prompted = deepcopy(prompted)
    prompted.net.first_rows = lambda *arguments: None
    return prompted


def image_prompters() -> list[str]:
    """Those that are registered, and neither for texts alone nor made of the prompts of a text side."""
    PROMPTERS.import_from_location()
    found = PROMPTERS.module_dict.items()
    return sorted(name for name, kind in found if 'words' not in kind.doors and not kind.reads_language)


def class_mappings() -> list[str]:
    """Those that are registered and map the classes of a network, by their number."""
    MAPPINGS.import_from_location()
    found = MAPPINGS.module_dict.items()
    return sorted(name for name, kind in found if 'num_classes' in inspect.signature(kind).parameters)


SMALL = dict(num_tokens=3, pad_size=4, width=4, side=16, size=6)


def config(kind: str | type, **options) -> dict:
    """Config of a prompter with 3 tokens, or for small images, where it takes such a number."""
    given = inspect.signature(PROMPTERS.get(kind) if isinstance(kind, str) else kind).parameters
    small = {name: number for name, number in SMALL.items() if name in given}
    return dict(type=kind, **small, **options)
