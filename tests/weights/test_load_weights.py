"""What of a file is used: positions of another size, classifiers, fresh parts, whole training states, and the table."""

from argparse import Namespace

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from mmpretrain.models import ImageClassifier
from safetensors.torch import save_file
from scipy.ndimage import zoom
from small_models import SIZE, drawn, images, vit
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

import vptx.weights
from vptx.backbones import TimmViT
from vptx.weights import load_weights
from vptx.weights.export import to_google


def saved(tensors: dict[str, Tensor], path):
    torch.save(tensors, path)
    return path


@pytest.fixture
def theirs():
    return drawn(vit(num_classes=5))


@pytest.fixture
def path(theirs, tmp_path):
    return saved(theirs.state_dict(), tmp_path / 'file.pth')


# Positions.


@pytest.mark.parametrize('size', [24, (40, 48), 64])
def test_bicubic_positions_are_those_of_timm(size, theirs, path):
    model = vit(img_size=size)
    report = load_weights(model, path)
    wanted = resample_abs_pos_embed(theirs.pos_embed, model.patch_embed.grid_size)
    torch.testing.assert_close(model.pos_embed, wanted)
    assert report.resized == {'pos_embed': ((1, 17, 32), tuple(model.pos_embed.shape))}


@pytest.mark.parametrize('size', [24, (40, 48), 64])
@pytest.mark.parametrize('name', ['file.pth', 'file.npz'])
def test_bilinear_positions_are_the_zoom_of_the_paper(size, name, theirs, tmp_path):
    if name == 'file.npz':
        np.savez(tmp_path / name, **{k: v.numpy() for k, v in to_google(vit_of(theirs), head_width=8).items()})
    else:
        torch.save(theirs.state_dict(), tmp_path / name)
    model = vit(img_size=size)
    load_weights(model, tmp_path / name, positions='bilinear')
    rows, columns = model.patch_embed.grid_size
    grid = zoom(theirs.pos_embed[0, 1:].detach().reshape(4, 4, 32).numpy(), (rows / 4, columns / 4, 1), order=1)
    assert torch.equal(model.pos_embed[0, 0], theirs.pos_embed[0, 0])
    torch.testing.assert_close(model.pos_embed[0, 1:].detach(), torch.from_numpy(grid.reshape(-1, 32)))


def vit_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in model.state_dict().items() if not name.startswith('head')}


def test_positions_of_the_same_size_are_not_touched(theirs, path):
    for positions in 'bicubic', 'bilinear':
        model = vit()
        assert not load_weights(model, path, positions).resized
        assert torch.equal(model.pos_embed, theirs.pos_embed)


def test_positions_by_the_config_of_a_net(theirs, path):
    nets = [
        TimmViT(vit(img_size=64), weights=str(path), positions=positions).model.pos_embed
        for positions in ('bicubic', 'bilinear')
    ]
    assert not torch.equal(*nets)


def test_clip_positions_are_told_by_the_name_of_the_model(tmp_path):
    file = {'visual.class_embedding': torch.zeros(32), 'visual.positional_embedding': torch.randn(17, 32)}
    theirs = drawn(vit('vit_base_patch16_clip_224')).state_dict()
    model = vit('vit_base_patch16_clip_224', img_size=64)
    kept = {f'visual.{name}': value for name, value in theirs.items() if name not in ('cls_token', 'pos_embed')}
    report = load_weights(model, saved({**kept, **file}, tmp_path / 'file.pth'))
    assert report.resized == {'pos_embed': ((17, 32), (1, 65, 32))}
    assert not report.dropped


def test_relative_positions_of_another_window(tmp_path):
    def swin(window: int) -> nn.Module:
        tiny = dict(img_size=64, embed_dim=16, depths=(2, 1), num_heads=(1, 2), num_classes=0, window_size=window)
        return timm.create_model('swin_tiny_patch4_window7_224', **tiny)

    theirs, model = drawn(swin(4)), swin(2)
    report = load_weights(model, saved(theirs.state_dict(), tmp_path / 'file.pth'))
    name = 'layers.0.blocks.0.attn.relative_position_bias_table'
    assert report.resized[name] == ((49, 1), (9, 1))
    assert len(report.resized) == 3
    middle = model.layers[0].blocks[0].attn.relative_position_bias_table[4]  # a patch and itself
    torch.testing.assert_close(middle, theirs.layers[0].blocks[0].attn.relative_position_bias_table[24])


def test_unknown_interpolation(path):
    with pytest.raises(ValueError, match=r"positions='nearest' is not one of bicubic, bilinear"):
        load_weights(vit(), path, positions='nearest')


# Classifiers.


def test_a_classifier_is_kept_where_it_fits(theirs, path):
    model = vit(num_classes=5)
    assert 'head.weight' in load_weights(model, path).loaded
    assert torch.equal(model.head.weight, theirs.head.weight)


def test_a_classifier_is_dropped_where_it_does_not(path):
    model = vit(num_classes=7)
    before = model.head.weight.clone()
    report = load_weights(model, path)
    assert report.as_built == ['head.weight', 'head.bias'] == report.dropped
    assert torch.equal(model.head.weight, before)
    assert load_weights(vit(), path).dropped == ['head.weight', 'head.bias']


def test_a_file_need_not_have_a_classifier(tmp_path):
    path = saved(vit_of(drawn(vit())), tmp_path / 'file.pth')
    assert load_weights(vit(num_classes=5), path).as_built == ['head.weight', 'head.bias']


@pytest.mark.parametrize('family', ['VisionTransformer', 'ResNet'])
def test_a_classifier_of_openmmlab(family, tmp_path):
    """A whole classifier of mmpretrain, with its head by the name that timm gives it."""
    arch = dict(embed_dims=32, num_layers=3, num_heads=4, feedforward_channels=64)
    if family == 'ResNet':
        backbone, model = dict(type=family, depth=18), timm.create_model('resnet18', num_classes=5)
        head = dict(type='LinearClsHead', num_classes=5, in_channels=512)
    else:
        backbone, model = dict(type=family, arch=arch, img_size=SIZE, patch_size=8), vit(num_classes=5)
        head = dict(type='VisionTransformerClsHead', num_classes=5, in_channels=32)
    neck = dict(type='GlobalAveragePooling') if family == 'ResNet' else None
    theirs = drawn(ImageClassifier(backbone=backbone, neck=neck, head=head))
    report = load_weights(model.eval(), saved(dict(state_dict=theirs.state_dict()), tmp_path / 'file.pth'))
    assert not report.as_built
    with torch.no_grad():
        torch.testing.assert_close(model(images()), theirs(images()), rtol=1e-4, atol=1e-4)


# Fresh parts.


def test_the_norm_of_mae_as_the_paper_has_it(theirs, path):
    """A new norm after the average, weight one and bias zero; the file's own goes."""
    model = vit(global_pool='avg')
    with pytest.raises(ValueError, match=r"lacks fc_norm.weight.*fresh=\['norm', 'fc_norm'\]"):
        load_weights(model, path)
    report = load_weights(model, path, fresh=['norm', 'fc_norm'])
    assert report.as_built == ['fc_norm.weight', 'fc_norm.bias']
    assert {'norm.weight', 'norm.bias'} <= set(report.dropped)
    theirs.norm = nn.Identity()
    with torch.no_grad():
        mean = theirs.forward_features(images())[:, 1:].mean(1)
        torch.testing.assert_close(model.eval()(images()), F.layer_norm(mean, (32,), eps=1e-6))


def test_a_fresh_part_is_left_alone_though_the_file_has_it(path):
    model = vit()
    report = load_weights(model, path, fresh=['blocks.2', 'norm'])
    assert torch.equal(model.norm.weight, torch.ones(32))
    assert {name.rpartition('.')[0].split('.')[0] for name in report.as_built} == {'blocks', 'norm'}
    assert all(name.startswith(('blocks.2.', 'norm.')) for name in report.as_built)


def test_a_fresh_pattern_that_matches_nothing(path):
    with pytest.raises(ValueError, match=r"fresh: 'nrom' matches no tensor"):
        load_weights(vit(), path, fresh=['nrom'])


# Whole files.


def test_a_training_state_is_its_model(theirs, tmp_path):
    """timm's, mmengine's and MAE's, with all that stands beside the model."""
    weights, optimizer = theirs.state_dict(), torch.optim.AdamW(theirs.parameters())
    images_seen = dict(epoch=torch.tensor(3), optimizer=optimizer.state_dict(), args=Namespace(lr=0.1))
    for key, others in (
        ('state_dict', dict(state_dict_ema=weights, arch='vit')),
        ('state_dict', dict(meta=dict(cfg='...'), message_hub=dict(log_scalars={}), ema_state_dict=weights)),
        ('model', dict(scaler={}, model_ema=weights)),
        ('net', dict()),
    ):
        state = {**images_seen, key: weights, **others}
        if key == 'net':
            del state['epoch']  # nothing but the model is a mapping of tensors
        model = vit()
        load_weights(model, saved(state, tmp_path / 'file.pth'))
        assert torch.equal(model.pos_embed, theirs.pos_embed), key


def test_a_run_of_vptx(theirs, tmp_path):
    state = {f'backbone.net.model.{name}': value for name, value in vit_of(theirs).items()}
    state['head.fc.weight'], state['head.fc.bias'] = theirs.head.weight, theirs.head.bias
    model = vit(num_classes=5)
    load_weights(model, saved(dict(state_dict=state), tmp_path / 'file.pth'))
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in model.state_dict().items())


def test_a_model_of_16_bits_stays_one(path):
    model = vit().bfloat16()
    load_weights(model, path)
    assert model.pos_embed.dtype == torch.bfloat16


def test_all_is_told_once(theirs, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(vptx.weights, 'print_log', lambda message, logger: told.append((message, logger)))
    tensors = {**theirs.state_dict(), 'mask_token': torch.zeros(1, 1, 16), 'decoder_pos_embed': torch.zeros(1, 17, 16)}
    save_file(tensors, tmp_path / 'mae.safetensors')
    load_weights(vit(img_size=64, num_classes=7), tmp_path / 'mae.safetensors')
    ((table, logger),) = told
    assert logger == 'current'
    lines = table.splitlines()
    assert lines[0] == f"{tmp_path}/mae.safetensors (timm's names) -> VisionTransformer"
    rows = [line.split(maxsplit=2) for line in lines[1:]]
    assert rows == [
        ['loaded', '42', 'cls_token (1), pos_embed (1), patch_embed (2), blocks (36), norm (2)'],
        ['resized', '1', 'pos_embed (1, 17, 32) -> (1, 65, 32)'],
        ['dropped', '4', 'mask_token (1), decoder_pos_embed (1), head (2)'],
        ['as', 'built', '2  head (2)'],
    ]
