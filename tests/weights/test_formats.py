"""Every public format: a file in its exact names, read by us into a timm model, whose forward must then be that of the
network the tensors came from (mmpretrain's, mmseg's, torchvision's, timm's), or whose tensors must be those that
timm's own loader makes of the same file."""

from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import timm
import torch
from mmpretrain.models import ConvNeXt, ResNet, ResNetV1d, SwinTransformer, VisionTransformer
from safetensors.torch import save_file
from small_models import SIZE, drawn, images, vit
from torch import Tensor, nn
from torchvision.models import mobilenet_v2, resnet18

from vptx.weights import load_weights
from vptx.weights.export import to_google
from vptx.weights.layouts.rename import rename

DATA = Path(__file__).parents[1] / 'data'
ARCH = dict(embed_dims=32, num_layers=3, num_heads=4, feedforward_channels=64)
LN = dict(type='LN', eps=1e-6)


class Case(NamedTuple):
    """What the file holds, the model it goes into, and what the network that it came from makes of an image."""

    tensors: dict[str, Tensor]
    model: nn.Module
    theirs: Callable[[Tensor], Tensor]
    ours: Callable[[nn.Module, Tensor], Tensor] = lambda model, x: model(x)


# OpenMMLab's backbones, whose features are compared with timm's before the classifier.


def mm_vit() -> Case:
    theirs = drawn(VisionTransformer(ARCH, img_size=SIZE, patch_size=8))
    return Case(theirs.state_dict(), vit(), lambda x: theirs(x)[0])


def mm_vit_averaged() -> Case:
    """As mmpretrain fine-tunes MAE: the norm after the average; with layer scale."""
    options = dict(out_type='avg_featmap', final_norm=False, layer_scale_init_value=0.5)
    theirs = drawn(VisionTransformer(ARCH, img_size=SIZE, patch_size=8, **options))
    return Case(theirs.state_dict(), vit(global_pool='avg', init_values=0.5), lambda x: theirs(x)[0])


def mm_clip() -> Case:
    """A norm in front, and patches without a bias."""
    theirs = drawn(
        VisionTransformer(ARCH, img_size=SIZE, patch_size=8, pre_norm=True, norm_cfg=dict(type='LN', eps=1e-5))
    )
    return Case(theirs.state_dict(), vit('vit_base_patch16_clip_224'), lambda x: theirs(x)[0])


def mmseg_vit() -> Case:
    """PyTorch's own attention, and patches without a bias; features are the patches."""
    backbones = pytest.importorskip('mmseg.models.backbones')
    options = dict(mlp_ratio=2, final_norm=True, norm_cfg=LN, with_cls_token=True)
    theirs = drawn(backbones.VisionTransformer((SIZE, SIZE), 8, embed_dims=32, num_layers=3, num_heads=4, **options))
    patches = lambda model, x: model.forward_features(x)[:, 1:].transpose(1, 2).unflatten(2, (4, 4))  # noqa: E731
    return Case(theirs.state_dict(), vit(), lambda x: theirs(x)[-1], patches)


def timm_swin(**arguments) -> nn.Module:
    tiny = dict(img_size=64, window_size=2, embed_dim=16, depths=(2, 1, 2, 1), num_heads=(1, 2, 4, 4), num_classes=0)
    return timm.create_model('swin_tiny_patch4_window7_224', **{**tiny, **arguments})


def mm_swin() -> Case:
    arch = dict(embed_dims=16, depths=[2, 1, 2, 1], num_heads=[1, 2, 4, 4])
    theirs = drawn(SwinTransformer(arch, img_size=64, window_size=2))
    return Case(theirs.state_dict(), timm_swin(), lambda x: theirs(x)[0].mean((2, 3)))


def mmseg_swin() -> Case:
    """A norm after every stage."""
    backbones = pytest.importorskip('mmseg.models.backbones')
    arch = dict(embed_dims=16, depths=(2, 1, 2, 1), num_heads=(1, 2, 4, 4))
    theirs = drawn(backbones.SwinTransformer(64, window_size=2, **arch))
    return Case(theirs.state_dict(), timm_swin(), lambda x: theirs(x)[-1].mean((2, 3)))


def mm_convnext(v2: bool = False, linear: bool = True) -> Case:
    options = dict(use_grn=True, layer_scale_init_value=0.0) if v2 else {}
    theirs = drawn(ConvNeXt(dict(depths=[1, 2, 1, 1], channels=[8, 16, 24, 32]), linear_pw_conv=linear, **options))
    sizes = dict(depths=(1, 2, 1, 1), dims=(8, 16, 24, 32), num_classes=0)
    model = timm.create_model('convnextv2_tiny' if v2 else 'convnext_tiny', **sizes)
    return Case(theirs.state_dict(), model, lambda x: theirs(x)[0])


def mm_resnet(kind: Callable[..., nn.Module] = ResNet, **stem) -> Case:
    theirs = drawn(kind(depth=50, base_channels=8, stem_channels=16 if stem else 64))
    model = timm.create_model('resnet50', channels=(8, 16, 32, 64), num_classes=0, **stem)
    return Case(theirs.state_dict(), model, lambda x: theirs(x)[-1].mean((2, 3)))


def mmseg_resnet() -> Case:
    backbones = pytest.importorskip('mmseg.models.backbones')
    flat = dict(strides=(1, 2, 2, 2), dilations=(1, 1, 1, 1))
    return mm_resnet(partial(backbones.ResNetV1c, **flat), stem_type='deep', stem_width=8)


OPENMMLAB = {
    'mmpretrain vit': mm_vit,
    'mmpretrain vit, averaged': mm_vit_averaged,
    'mmpretrain clip': mm_clip,
    'mmseg vit': mmseg_vit,
    'mmpretrain swin': mm_swin,
    'mmseg swin': mmseg_swin,
    'mmpretrain convnext': mm_convnext,
    'mmpretrain convnext of convolutions': partial(mm_convnext, linear=False),
    'mmpretrain convnext v2': partial(mm_convnext, v2=True),
    'mmpretrain resnet': mm_resnet,
    'mmpretrain resnet v1d': partial(mm_resnet, ResNetV1d, stem_type='deep', stem_width=8, avg_down=True),
    'mmseg resnet v1c': mmseg_resnet,
}


# The authors' own files: a timm model's tensors under their names, or theirs in timm's.


def timm_names() -> Case:
    theirs = drawn(vit())
    return Case(theirs.state_dict(), vit(), theirs)


def mae() -> Case:
    """A full checkpoint, with the decoder."""
    theirs = drawn(vit())
    decoder = {'mask_token': torch.zeros(1, 1, 16), 'decoder_blocks.0.attn.qkv.weight': torch.zeros(48, 16)}
    return Case({**theirs.state_dict(), **decoder}, vit(), theirs)


def mae_finetuned() -> Case:
    theirs = drawn(vit(global_pool='avg', num_classes=5))
    return Case(theirs.state_dict(), vit(global_pool='avg', num_classes=5), theirs)


def moco_v3() -> Case:
    theirs, other = drawn(vit()), drawn(vit(), seed=2)
    tensors = {f'module.momentum_encoder.{name}': value for name, value in other.state_dict().items()}
    tensors |= {f'module.base_encoder.{name}': value for name, value in theirs.state_dict().items()}
    tensors |= {'module.base_encoder.head.0.weight': torch.zeros(4, 32), 'module.predictor.0.weight': torch.zeros(4, 4)}
    return Case(tensors, vit(), theirs)


def moco_v3_linear() -> Case:
    """Its linear probe, which is what the public VPT code took."""
    theirs = drawn(vit(num_classes=5))
    return Case({f'module.{k}': v for k, v in theirs.state_dict().items()}, vit(num_classes=5), theirs)


def dinov2() -> Case:
    theirs = drawn(vit('vit_small_patch14_dinov2', init_values=0.5))
    tensors = {**theirs.state_dict(), 'mask_token': torch.zeros(1, 32)}
    return Case(tensors, vit('vit_small_patch14_dinov2', init_values=0.5), theirs)


def dinov2_registers() -> Case:
    """The class token has a position of its own there; timm adds it to the token."""
    theirs = drawn(vit('vit_small_patch14_reg4_dinov2', init_values=0.5))
    tensors = theirs.state_dict()
    position = torch.randn(1, 1, 32)
    tensors |= {'mask_token': torch.zeros(1, 32), 'register_tokens': tensors.pop('reg_token')}
    tensors |= {
        'cls_token': tensors['cls_token'] - position,
        'pos_embed': torch.cat([position, tensors['pos_embed']], dim=1),
    }
    return Case(tensors, vit('vit_small_patch14_reg4_dinov2', init_values=0.5), theirs)


def openai_clip(prefix: str = '') -> Case:
    theirs = drawn(vit('vit_base_patch16_clip_224'))
    rules = [
        (r'^patch_embed\.proj', 'conv1'),
        (r'^cls_token', 'class_embedding'),
        (r'^pos_embed', 'positional_embedding'),
        (r'^norm_pre', 'ln_pre'),
        (r'^norm\.', 'ln_post.'),
        (r'^blocks', 'transformer.resblocks'),
        (r'\.norm', '.ln_'),
        (r'\.qkv\.', '.in_proj_'),
        (r'attn\.proj', 'attn.out_proj'),
        (r'fc1', 'c_fc'),
        (r'fc2', 'c_proj'),
        (r'^', f'{prefix}visual.'),
    ]
    tensors = rename(theirs.state_dict(), rules)
    tensors[f'{prefix}visual.class_embedding'] = theirs.cls_token.detach().flatten()
    tensors[f'{prefix}visual.positional_embedding'] = theirs.pos_embed.detach()[0]
    text = {'visual.proj': torch.zeros(32, 16), 'token_embedding.weight': torch.zeros(7, 16)}
    text |= {'transformer.resblocks.0.ln_1.weight': torch.zeros(16), 'logit_scale': torch.tensor(1.0)}
    tensors |= {f'{prefix}{name}': value for name, value in text.items()}
    return Case(tensors, vit('vit_base_patch16_clip_224'), theirs)


def open_clip_around_timm() -> Case:
    theirs = drawn(vit())
    tensors = {f'visual.trunk.{name}': value for name, value in theirs.state_dict().items()}
    return Case({**tensors, 'text.token_embedding.weight': torch.zeros(7, 16)}, vit(), theirs)


def deit_distilled() -> Case:
    """Two prefix tokens, two classifiers."""
    name = 'deit_tiny_distilled_patch16_224'
    theirs = drawn(vit(name, num_classes=5))
    return Case(theirs.state_dict(), vit(name, num_classes=5), theirs)


def deit_iii() -> Case:
    theirs = drawn(vit('deit3_small_patch16_224', init_values=0.5))
    tensors = rename(theirs.state_dict(), [(r'\.ls(\d)\.gamma$', r'.gamma_\1')])
    return Case(tensors, vit('deit3_small_patch16_224', init_values=0.5), theirs)


def swin() -> Case:
    """The authors' order of four patches, by hand: (0, 0), (1, 0), (0, 1), (1, 1), each with all of its channels."""
    case = mm_swin()
    tensors = rename(
        case.tensors,
        [
            ('projection', 'proj'),
            (r'^stages', 'layers'),
            (r'\.w_msa', ''),
            (r'ffn\.layers\.0\.0', 'mlp.fc1'),
            (r'ffn\.layers\.1', 'mlp.fc2'),
            (r'^norm3', 'norm'),
        ],
    )
    for name, value in tensors.items():
        if '.downsample.' in name:
            patches = value.reshape(*value.shape[:-1], -1, 2, 2)
            tensors[name] = torch.cat([patches[..., y, x] for y, x in ((0, 0), (1, 0), (0, 1), (1, 1))], dim=-1)
    return case._replace(tensors={**tensors, 'layers.0.blocks.1.attn_mask': torch.zeros(4, 4, 4)})


def convnext() -> Case:
    case = mm_convnext()
    rules = [('depthwise', 'dw'), ('pointwise_conv', 'pwconv'), ('dw_conv', 'dwconv'), ('^norm3', 'norm')]
    return case._replace(tensors={**rename(case.tensors, rules), 'head.weight': torch.zeros(5, 32)})


def efficientnet_pytorch(name: str = 'efficientnet_lite0') -> Case:
    """Blocks numbered through all stages; of those that do not widen, the first convolution is missing."""
    theirs = drawn(timm.create_model(name, num_classes=5))
    numbers = {
        f'blocks.{i}.{j}': n
        for n, (i, j) in enumerate((i, j) for i, s in enumerate(theirs.blocks) for j in range(len(s)))
    }
    tensors = {}
    for name_, tensor in theirs.state_dict().items():
        head, _, rest = name_.partition('.')
        if head != 'blocks':
            start = dict(conv_stem='_conv_stem', bn1='_bn0', conv_head='_conv_head', bn2='_bn1', classifier='_fc')[head]
            tensors[f'{start}.{rest}'] = tensor
            continue
        _, stage, index, part = name_.split('.', 3)
        place = f'blocks.{stage}.{index}'
        module, _, kind = part.rpartition('.')
        wide = f'{place}.conv_pwl.weight' in theirs.state_dict()
        parts = dict(conv_dw='_depthwise_conv') | {'se.conv_reduce': '_se_reduce', 'se.conv_expand': '_se_expand'}
        parts |= (
            dict(conv_pw='_expand_conv', bn1='_bn0', bn2='_bn1', conv_pwl='_project_conv', bn3='_bn2')
            if wide
            else dict(bn1='_bn1', conv_pw='_project_conv', bn2='_bn2')
        )
        tensors[f'_blocks.{numbers[place]}.{parts[module]}.{kind}'] = tensor
    return Case(tensors, timm.create_model(name, num_classes=5), theirs)


def torchvision_mobilenet(older: bool = False) -> Case:
    theirs = drawn(mobilenet_v2(num_classes=5))
    tensors = {}
    for name, tensor in theirs.state_dict().items():
        place, _, kind = name.rpartition('.')
        if older and '.conv.' in place:  # one list of convolutions, norms and activations, where now some are together
            block, _, part = place.partition('.conv.')
            first, _, second = part.partition('.')
            last = len(theirs.get_submodule(block).conv) - 2
            place = f'{block}.conv.{3 * int(first) + int(second) if second else 3 * last + int(first) - last}'
        tensors[f'{place}.{kind}'] = tensor
    return Case(tensors, timm.create_model('mobilenetv2_100', num_classes=5), theirs)


def torchvision_resnet() -> Case:
    """As of 2016, without a count of batches."""
    theirs = drawn(resnet18())
    tensors = {name: value for name, value in theirs.state_dict().items() if 'num_batches' not in name}
    return Case(tensors, timm.create_model('resnet18'), theirs)


AUTHORS = {
    'timm': timm_names,
    'mae': mae,
    'mae, fine-tuned': mae_finetuned,
    'moco v3': moco_v3,
    'moco v3, linear probe': moco_v3_linear,
    'dinov2': dinov2,
    'dinov2 with registers': dinov2_registers,
    'clip of openai': openai_clip,
    'clip of open_clip': partial(openai_clip, 'module.'),
    'clip of open_clip around timm': open_clip_around_timm,
    'deit, distilled': deit_distilled,
    'deit iii': deit_iii,
    'swin': swin,
    'convnext': convnext,
    'torchvision resnet': torchvision_resnet,
    'efficientnet-pytorch, lite': efficientnet_pytorch,
    'efficientnet-pytorch': partial(efficientnet_pytorch, 'efficientnet_b0'),
    'torchvision mobilenet': torchvision_mobilenet,
    'torchvision mobilenet, older names': partial(torchvision_mobilenet, older=True),
}


def check(case: Case, path: Path) -> None:
    load_weights(case.model, path)
    size = 64 if 'swin' in type(case.model).__name__.lower() else SIZE
    with torch.no_grad():
        ours, theirs = case.ours(case.model.eval(), images(size)), case.theirs(images(size))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('prefix', ['', 'backbone.'])
@pytest.mark.parametrize('make', OPENMMLAB.values(), ids=OPENMMLAB)
def test_openmmlab(make, prefix, tmp_path):
    case = make()
    tensors = {f'{prefix}{name}': value for name, value in case.tensors.items()}
    others = {'decode_head.conv_seg.weight': torch.zeros(3, 3), 'neck.weight': torch.zeros(1)} if prefix else {}
    torch.save(dict(state_dict={**tensors, **others}, meta=dict(epoch=3)), tmp_path / 'file.pth')
    check(case, tmp_path / 'file.pth')


@pytest.mark.parametrize('make', AUTHORS.values(), ids=AUTHORS)
def test_authors(make, tmp_path):
    case = make()
    torch.save(dict(model=case.tensors, epoch=3), tmp_path / 'file.bin')
    check(case, tmp_path / 'file.bin')


def test_blocks_that_are_no_inverted_residuals(tmp_path):
    tensors = efficientnet_pytorch().tensors
    tensors['_blocks.3._gate.weight'] = torch.zeros(1)
    torch.save(tensors, tmp_path / 'file.pth')
    with pytest.raises(ValueError, match=r'file\.pth: a block of the parts .*_gate.* is no inverted residual'):
        load_weights(timm.create_model('efficientnet_lite0'), tmp_path / 'file.pth')


def test_dino_is_its_teacher(tmp_path):
    """A whole training state, with the arguments of the command line and a loss that holds tensors."""
    teacher, student = drawn(vit()), drawn(vit(), seed=2)
    state = dict(
        student={f'module.backbone.{k}': v for k, v in student.state_dict().items()},
        teacher={f'backbone.{k}': v for k, v in teacher.state_dict().items()}
        | {'head.mlp.0.weight': torch.zeros(2, 2)},
        optimizer=torch.optim.SGD(student.parameters(), 0.1).state_dict(),
        dino_loss=dict(center=torch.zeros(1, 4)),
        args=Namespace(arch='vit_base'),
    )
    torch.save(state, tmp_path / 'file.pth')
    check(Case({}, vit(), teacher), tmp_path / 'file.pth')


# Google's: timm reads it too.


def to_big_vision(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    rules = [
        ('Transformer/posembed_input/', ''),
        ('Attention_1', 'Attention_0'),
        ('MlpBlock_3', 'MlpBlock_0'),
        ('LayerNorm_2', 'LayerNorm_1'),
        ('^', 'params/'),
    ]
    return rename(tensors, rules)


GOOGLE = {
    'original': dict,
    'in a training state': lambda tensors: {f'opt/target/{name}': value for name, value in tensors.items()},
    'big_vision': to_big_vision,
}


@pytest.mark.parametrize('written', GOOGLE.values(), ids=GOOGLE)
def test_google(written, tmp_path):
    tensors = {name: value.numpy() for name, value in to_google(drawn(vit()).state_dict(), head_width=8).items()}
    head = {'head/kernel': np.ones((32, 5), np.float32), 'head/bias': np.ones(5, np.float32)}
    unused = {'pre_logits/kernel': np.ones((32, 32), np.float32), 'pre_logits/bias': np.ones(32, np.float32)}
    path = tmp_path / 'file.npz'
    np.savez(path, **written({**tensors, **head, **unused}))
    ours, theirs = vit(num_classes=5), vit(num_classes=5)
    load_weights(ours, path)
    theirs.load_pretrained(str(path))
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name


def test_the_golden_npz_as_timm_reads_it():
    ours, theirs = (vit(img_size=64, patch_size=16, depth=4) for _ in range(2))
    load_weights(ours, DATA / 'vit_sup.npz')
    theirs.load_pretrained(str(DATA / 'vit_sup.npz'))
    assert all(torch.equal(ours.state_dict()[name], value) for name, value in theirs.state_dict().items())


def test_moco_v3_is_the_base_encoder():
    model = vit(img_size=64, patch_size=16, depth=4)
    report = load_weights(model, DATA / 'vit_mocov3.pth.tar')
    file = torch.load(DATA / 'vit_mocov3.pth.tar', weights_only=True)['state_dict']
    for name, value in model.state_dict().items():
        assert torch.equal(value, file[f'module.base_encoder.{name}'])
    assert any(name.startswith('momentum_encoder.') for name in report.dropped)


def test_the_golden_swin():
    dims = dict(img_size=128, window_size=4, embed_dim=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8), mlp_ratio=2)
    model = timm_swin(**dims)
    report = load_weights(model, DATA / 'swin.pth')
    file = torch.load(DATA / 'swin.pth', weights_only=True)['model']
    assert torch.equal(model.layers[1].downsample.reduction.weight, file['layers.0.downsample.reduction.weight'])
    assert not report.resized
    assert not report.as_built


# How the numbers are stored.


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize('name', ['file.pth', 'file.safetensors', 'file.npz'])
def test_other_precisions(name, dtype, tmp_path):
    theirs, path = drawn(vit()).to(dtype), tmp_path / name
    if name == 'file.npz':
        arrays = to_google(theirs.state_dict(), head_width=8)
        if dtype == torch.bfloat16:  # numpy has no such type: JAX's files are read as two bytes without one
            np.savez(path, **{k: v.view(torch.int16).numpy().view('V2') for k, v in arrays.items()})
        else:
            np.savez(path, **{k: v.numpy() for k, v in arrays.items()})
    else:
        save_file(theirs.state_dict(), path) if 'safe' in name else torch.save(theirs.state_dict(), path)
    model = vit()
    load_weights(model, path)
    for key, value in model.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, theirs.state_dict()[key].float())


def test_content_tells_the_format_not_the_name(tmp_path):
    theirs = drawn(vit())
    save_file(theirs.state_dict(), tmp_path / 'a.npz')
    torch.save(theirs.state_dict(), tmp_path / 'b.npz')
    torch.save(theirs.state_dict(), tmp_path / 'c', _use_new_zipfile_serialization=False)
    with (tmp_path / 'd.pth').open('wb') as file:
        np.savez(file, **{k: v.numpy() for k, v in to_google(theirs.state_dict(), head_width=8).items()})
    for name in 'a.npz', 'b.npz', 'c', 'd.pth':
        check(Case({}, vit(), theirs), tmp_path / name)
