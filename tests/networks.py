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
from timm.models.vision_transformer_relpos import RelPosBlock
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vptx.backbones import Net, wrap_backbone
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

_one_size = partial(_vit, dynamic_img_size=None)  # which these do not take
_beit = partial(_one_size, 'beit_base_patch16_224')
_sam = partial(
    _one_size,
    'samvit_base_patch16',
    window_size=3,
    global_attn_indexes=(1,),
    neck_chans=24,
    mlp_ratio=2,
    drop_path_rate=0.2,
)
_naflex = partial(
    timm.create_model,
    patch_size=PATCH,
    embed_dim=WIDTH,
    depth=DEPTH,
    num_heads=HEADS,
    num_classes=CLASSES,
    pretrained_cfg_overlay=dict(input_size=(3, SIZE, SIZE)),
)
# Of the same size in all that prompts meet: width and grid of the last map, the size of the images.
_convnet = partial(
    timm.create_model,
    num_classes=CLASSES,
    output_stride=PATCH,
    pretrained_cfg_overlay=dict(input_size=(3, SIZE, SIZE)),
)
_classifier = partial(timm.create_model, num_classes=CLASSES, pretrained_cfg_overlay=dict(input_size=(3, SIZE, SIZE)))
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


def _torchvision(name: str, *arguments, **named) -> nn.Module:
    model = getattr(torchvision.models, name)(*arguments, **named)
    model.image_size = SIZE
    return model


def _torchvision_swin(**arguments) -> nn.Module:
    sizes = dict(patch_size=[4, 4], embed_dim=WIDTH // 2, depths=[2, 2], num_heads=[2, 4], num_classes=CLASSES)
    return _torchvision('SwinTransformer', **sizes, stochastic_depth_prob=0.0, **arguments)


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
    # By an MLP; and of SigLIP 2, without a class token, any image size.
    'relative positions': partial(_one_size, 'vit_relpos_small_patch16_224', init_values=0.5),
    'NaFlex': partial(_naflex, 'naflexvit_base_patch16_gap'),
    # Layers of the patches alone, and layers of the class token alone.
    'CaiT': partial(_one_size, 'cait_xxs24_224', init_values=0.5, drop_path_rate=0.2),
    # Windows that do not divide the map, and a layer without; a neck that makes another width.
    'SAM': partial(_sam, use_rel_pos=True),
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
    # Called in one piece.
    'ShuffleNet': partial(_torchvision, 'ShuffleNetV2', [1, 1, 1], [8, 8, 16, WIDTH, WIDTH], CLASSES),
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
    'torchvision swin': partial(_torchvision_swin, window_size=[3, 4]),  # one side is filled up
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
    'relative positions, shared': partial(
        _one_size, 'vit_relpos_base_patch32_plus_rpn_256', block_fn=RelPosBlock, class_token=True
    ),
    'relative positions in a table': partial(
        _one_size, 'vit_relpos_base_patch16_clsgap_224', rel_pos_type='bias', qk_norm=True
    ),
    'relative positions, normed last': partial(_one_size, 'vit_relpos_base_patch32_plus_rpn_256', class_token=True),
    'SigLIP 2': partial(_naflex, 'naflexvit_so400m_patch16_siglip', mlp_ratio=2),
    'NaFlex with rotations': partial(_naflex, 'naflexvit_base_patch16_gap', rope_type='axial', class_token=True),
    'NaFlex with a convolution': partial(_naflex, 'naflexvit_base_patch16_gap', embed_proj_type='conv'),
    'SAM with rotations': partial(_sam, use_rope=True, use_rel_pos=False, init_values=0.5, neck_chans=None),
    'CaiT, averaged': partial(_one_size, 'cait_xxs24_224', global_pool='avg'),
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
    # Other classifiers, of which features and head are called: a map, channels last, tokens, tokens of two sizes.
    'EfficientNet': partial(_classifier, 'test_efficientnet'),
    'MobileNet': partial(_classifier, 'mobilenetv3_small_050'),  # a convolution behind the pooling
    'MambaOut': partial(_classifier, 'mambaout_femto', depths=(1, 1, 1, 1), dims=(8, 8, 16, WIDTH)),
    'ConViT': partial(_one_size, 'convit_tiny', depth=2, local_up_to_layer=1, embed_dim=WIDTH // 4),
    'CrossViT': partial(
        _classifier,
        'crossvit_9_240',
        img_size=SIZE,
        img_scale=(1.0, 1.0),
        patch_size=(8, 16),
        embed_dim=(8, 16),
        depth=((1, 1, 0),),
        num_heads=(2, 2),
        mlp_ratio=(1, 1, 1),
    ),
    'LeViT': partial(  # two classifiers
        _classifier, 'levit_128s', img_size=SIZE, embed_dim=(8, 16), key_dim=4, depth=(1, 1), num_heads=(2, 2)
    ),
    'MaxViT': partial(  # of one size
        _torchvision, 'MaxVit', (SIZE, SIZE), 8, 4, [16], [1], 8, stochastic_depth_prob=0.2, num_classes=CLASSES
    ),
    'torchvision swin v2': partial(
        _torchvision_swin,
        window_size=[4, 5],
        block=torchvision.models.swin_transformer.SwinTransformerBlockV2,
        downsample_layer=torchvision.models.swin_transformer.PatchMergingV2,
    ),
    'ResNet-D': partial(_resnet, 'resnet18d', channels=(8, 8, 16, WIDTH), stem_width=4),
}


_VIT = dict(embed_dims=WIDTH, num_layers=DEPTH, num_heads=HEADS)
_SWIN = dict(embed_dims=WIDTH // 2, depths=[2, 2], num_heads=[2, 4])


def _mmpretrain(kind: str, **arguments) -> nn.Module:
    import mmpretrain.models

    return getattr(mmpretrain.models, kind)(**arguments)


def _mmseg(kind: str, **arguments) -> nn.Module:
    backbones = pytest.importorskip('mmseg.models.backbones')
    return getattr(backbones, kind)(**arguments)


_pretrain_vit = partial(
    _mmpretrain,
    kind='VisionTransformer',
    img_size=SIZE,
    arch=dict(_VIT, feedforward_channels=2 * WIDTH),
    patch_size=PATCH,
)
_pretrain_swin = partial(_mmpretrain, 'SwinTransformer', img_size=SIZE, arch=_SWIN)
_seg_vit = partial(_mmseg, 'VisionTransformer', img_size=SIZE, patch_size=PATCH, **_VIT)
_seg_swin = partial(_mmseg, 'SwinTransformer', pretrain_img_size=SIZE, strides=(4, 2), **_SWIN)

#: OpenMMLab's own: without a classifier, with a tuple of outputs.
BACKBONES: dict[str, Callable[[], nn.Module]] = {
    'mmpretrain vit': _pretrain_vit,
    'mmpretrain vit, raw': partial(_pretrain_vit, out_type='raw', out_indices=[0, 2], layer_scale_init_value=0.5),
    'mmpretrain vit, maps': partial(_pretrain_vit, out_type='featmap', with_cls_token=False, pre_norm=True),
    'mmpretrain vit, averaged': partial(_pretrain_vit, out_type='avg_featmap', final_norm=False, drop_path_rate=0.2),
    'mmpretrain deit3': partial(_pretrain_vit, kind='DeiT3', drop_path_rate=0.2),
    'mmpretrain eva02': partial(_pretrain_vit, kind='ViTEVA02', out_type='raw', out_indices=[0, 2], drop_path_rate=0.2),
    'mmpretrain beit': partial(_pretrain_vit, kind='BEiTViT', layer_scale_init_value=0.5, drop_path_rate=0.2),
    'mmpretrain beit, shared': partial(
        _pretrain_vit,
        kind='BEiTViT',
        use_rel_pos_bias=False,
        use_shared_rel_pos_bias=True,
        use_abs_pos_emb=True,
        bias=True,
        out_type='cls_token',
        final_norm=True,
    ),
    'mmpretrain swin v2': partial(
        _mmpretrain,
        kind='SwinTransformerV2',
        img_size=SIZE,
        arch=dict(_SWIN, extra_norm_every_n_blocks=2),
        window_size=[4, 4],
        out_indices=(0, 1),
        drop_path_rate=0.2,
    ),
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


#: Of these, the image alone can be prompted.
WHOLE: dict[str, Callable[[], nn.Module]] = {
    'mmpretrain resnet': partial(_mmpretrain, 'ResNet', depth=18, stem_channels=8, base_channels=8, out_indices=(1, 3)),
    'mmpretrain distilled vit': partial(_pretrain_vit, kind='DistilledVisionTransformer'),
    'mmpretrain timm': partial(_mmpretrain, 'TIMMBackbone', model_name='test_resnet', features_only=True),
    'mmseg resnet': partial(_mmseg, 'ResNetV1c', depth=18, stem_channels=8, base_channels=8),
    'mmseg mit': partial(_mmseg, 'MixVisionTransformer', embed_dims=8, num_heads=[1, 1, 2, 2], num_layers=[1] * 4),
}


def _hugging_face(family: str, kind: str = '', classes: int = CLASSES, **changes) -> nn.Module:
    """A model of transformers; without ``kind`` the encoder alone."""
    transformers = pytest.importorskip('transformers')
    prefix, config = _CONFIGS[family]
    small = dict(
        hidden_size=WIDTH,
        num_hidden_layers=DEPTH,
        intermediate_size=2 * WIDTH,
        mlp_ratio=2,
        image_size=SIZE,
        patch_size=PATCH,
        num_labels=classes,
    )
    if family == 'Swin':  # two stages of two layers
        small = dict(embed_dim=WIDTH // 2, depths=(2, 2), num_heads=(2, 4), window_size=4, image_size=SIZE)
        small |= dict(patch_size=4, mlp_ratio=2, num_labels=classes)
    else:
        small['num_attention_heads'] = HEADS
    small |= changes
    made = getattr(transformers, f'{config}Config')(**small)
    if family in _TOWERS and kind == 'ForImageClassification':
        made = getattr(transformers, f'{family}Config')(vision_config=made.to_dict(), num_labels=classes)
    ending = kind or ('VisionModel' if family in _TOWERS else 'Model')
    return getattr(transformers, f'{prefix}{ending}')(made)


#: Of each family, how the names of its models and of its config begin.
_CONFIGS = {
    'ViT': ('ViT', 'ViT'),
    'DeiT': ('DeiT', 'DeiT'),
    'Dinov2': ('Dinov2', 'Dinov2'),
    'Dinov2WithRegisters': ('Dinov2WithRegisters', 'Dinov2WithRegisters'),
    'DINOv3ViT': ('DINOv3ViT', 'DINOv3ViT'),
    'CLIP': ('CLIP', 'CLIPVision'),
    'Siglip': ('Siglip', 'SiglipVision'),
    'Beit': ('Beit', 'Beit'),
    'Swin': ('Swin', 'Swin'),
}
_TOWERS = ('CLIP', 'Siglip')
_HEADED = 'ForImageClassification'

#: Of transformers: their output is an object.
HUGGING_FACE: dict[str, Callable[[], nn.Module]] = {
    'hf vit': partial(_hugging_face, 'ViT'),
    'hf vit, classifier': partial(
        _hugging_face, 'ViT', _HEADED, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1
    ),
    'hf vit, eager': partial(_hugging_face, 'ViT', _HEADED, attn_implementation='eager', qkv_bias=False),
    'hf deit': partial(_hugging_face, 'DeiT'),
    'hf deit, classifier': partial(_hugging_face, 'DeiT', _HEADED),
    'hf deit, two classifiers': partial(_hugging_face, 'DeiT', 'ForImageClassificationWithTeacher'),
    'hf dinov2': partial(_hugging_face, 'Dinov2', layerscale_value=0.5, drop_path_rate=0.2),
    'hf dinov2, classifier': partial(_hugging_face, 'Dinov2', _HEADED, use_swiglu_ffn=True),
    'hf dinov2, gated': partial(_hugging_face, 'Dinov2', use_swiglu_ffn=True, mlp_ratio=3),
    'hf dinov2, registers': partial(_hugging_face, 'Dinov2WithRegisters', num_register_tokens=2),
    'hf dinov2, registers, classifier': partial(
        _hugging_face, 'Dinov2WithRegisters', _HEADED, num_register_tokens=2, drop_path_rate=0.2
    ),
    'hf dinov3': partial(_hugging_face, 'DINOv3ViT', num_register_tokens=2, pos_embed_rescale=2.0),
    'hf dinov3, gated': partial(_hugging_face, 'DINOv3ViT', use_gated_mlp=True, hidden_act='silu', drop_path_rate=0.2),
    'hf clip': partial(_hugging_face, 'CLIP'),
    'hf clip, classifier': partial(_hugging_face, 'CLIP', _HEADED),
    'hf clip, projection': partial(_hugging_face, 'CLIP', 'VisionModelWithProjection', projection_dim=CLASSES),
    'hf siglip': partial(_hugging_face, 'Siglip'),
    'hf siglip, classifier': partial(_hugging_face, 'Siglip', _HEADED),
    'hf beit': partial(_hugging_face, 'Beit', use_relative_position_bias=True, drop_path_rate=0.2),
    'hf beit, classifier': partial(
        _hugging_face,
        'Beit',
        _HEADED,
        use_relative_position_bias=True,
        use_shared_relative_position_bias=True,
        layer_scale_init_value=0.5,
    ),
    'hf beit, class token': partial(
        _hugging_face,
        'Beit',
        _HEADED,
        use_mean_pooling=False,
        use_absolute_position_embeddings=True,
        use_shared_relative_position_bias=True,
    ),
    'hf swin': partial(_hugging_face, 'Swin', use_absolute_embeddings=True),
    'hf swin, no positions': partial(_hugging_face, 'Swin', _HEADED),
    'hf swin, classifier': partial(_hugging_face, 'Swin', _HEADED, window_size=3, drop_path_rate=0.2),
}


@cache
def _drawn(name: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = {**NETWORKS, **VARIANTS, **BACKBONES, **WHOLE, **HUGGING_FACE}[name]()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(std=0.2)
                else:
                    parameter.add_(0.1 * torch.randn_like(parameter))
    if name in WHOLE:
        model.img_size = SIZE
    model.eval()  # mmpretrain's returns None
    return model


def tiny(name: str = 'plain') -> nn.Module:
    """A network of one of the tables above, in eval mode, the same numbers every time."""
    return deepcopy(_drawn(name))


@cache
def wrapped(name: str = 'plain') -> Net:
    """The net of one of them, to look at: it is the same for all, so nobody may change it."""
    return wrap_backbone(tiny(name))


@cache
def classifier(network: str) -> str:
    """Name of the part that classifies."""
    net = wrapped(network)
    if not hasattr(net.model, 'pretrained_cfg'):
        return next(name for name, part in net.model.named_modules() if part is net.classifier)
    name = net.model.pretrained_cfg['classifier']
    return name if isinstance(name, str) else name[0]


MIDDLES = ('blocks.1', 'stage3', 'stages.2', 'layer3', 'layers.1', 'encoder.layers.encoder_layer_1', 'features.3')


@cache
def middle(network: str) -> str:
    """Name of a part in the middle."""
    names = {name for name, _ in _drawn(network).named_modules()}
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
