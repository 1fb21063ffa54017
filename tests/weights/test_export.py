"""The backbone of a pre-training run, written in its objective's public format, is read back as what was trained."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import DefaultScope
from open_clip.model import CLIP
from safetensors.torch import load_file
from small_models import drawn, vit

import vptx.pretraining  # noqa: F401  registers itself
from vptx.backbones import TimmViT
from vptx.registry import MODELS
from vptx.weights import load_weights
from vptx.weights.export import export_backbone, to_google

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module', params=['sup', 'mae', 'mocov3'])
def run(request, tmp_path_factory):
    """What a run of configs/pretrain/ leaves, without the run: its objective, checkpoint and model."""
    config = Config.fromfile(ROOT / f'configs/pretrain/vit_mini_{request.param}.py')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = drawn(MODELS.build(config.model))
    path = tmp_path_factory.mktemp(request.param) / 'epoch_3.pth'
    torch.save(dict(state_dict=model.state_dict(), meta=dict(epoch=3, cfg='...'), optimizer={}), path)
    return request.param, path, model


def test_round_trip(run, tmp_path):
    objective, checkpoint, theirs = run
    path = export_backbone(checkpoint, tmp_path / 'vit_mini')
    assert path.name == f'vit_mini{dict(sup=".npz", mae=".pth", mocov3=".pth.tar")[objective]}'
    assert path.stat().st_size < 6e6  # half of what 2.7 M parameters take, and nothing beside them
    exported = TimmViT('vit_mini_patch8_64', weights=str(path)).model
    direct = TimmViT('vit_mini_patch8_64', weights=str(checkpoint)).model
    for name, value in exported.state_dict().items():
        assert torch.equal(value, direct.state_dict()[name].half().float()), name
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        # MAE's encoder hides no patch when it gets no mask, and returns all tokens.
        wanted = theirs.backbone(image, None)[0][:, 0] if objective == 'mae' else theirs.backbone(image)[0]
        torch.testing.assert_close(direct.eval()(image), wanted, rtol=1e-4, atol=1e-4)


def test_a_supervised_run_keeps_its_classifier(run, tmp_path):
    objective, checkpoint, theirs = run
    if objective != 'sup':
        return
    path = export_backbone(checkpoint, tmp_path / 'vit_mini')
    net = TimmViT('vit_mini_patch8_64', weights=str(path), num_classes=240)
    assert torch.equal(net.model.head.weight, theirs.head.fc.weight.half().float())
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        feature = TimmViT('vit_mini_patch8_64', weights=str(path)).model.eval()(image)
        wanted = F.linear(feature, net.model.head.weight, net.model.head.bias)
        torch.testing.assert_close(net.model.eval()(image), wanted, rtol=1e-4, atol=1e-4)


def test_public_keys(run, tmp_path):
    objective, checkpoint, _ = run
    path = export_backbone(checkpoint, tmp_path / 'vit_mini')
    if objective == 'sup':
        with np.load(path) as file:
            query = file['Transformer/encoderblock_5/MultiHeadDotProductAttention_1/query/kernel']
        assert (query.shape, query.dtype) == ((192, 3, 64), np.float16)
        model = timm_vit_mini()
        model.load_pretrained(str(path))  # timm's reader of Google's files
        assert torch.equal(model.norm.weight, TimmViT('vit_mini_patch8_64', weights=str(path)).model.norm.weight)
        return
    file = torch.load(path, weights_only=True)
    if objective == 'mae':
        assert set(file) == {'model'}
        assert set(file['model']) == set(timm_vit_mini().state_dict())
    else:
        assert (file['epoch'], set(file)) == (3, {'epoch', 'arch', 'state_dict'})
        assert set(file['state_dict']) == {f'module.base_encoder.{name}' for name in timm_vit_mini().state_dict()}


def test_both_towers_of_clip(tmp_path):
    """In open_clip's names; what open_clip and timm read of it is what was trained, in 16-bit numbers."""
    model = MODELS.build(Config.fromfile(ROOT / 'configs/pretrain/clip_mini.py').model)
    checkpoint = tmp_path / 'iter_3.pth'
    torch.save(dict(state_dict=model.state_dict(), meta=dict(iter=3, cfg='...'), optimizer={}), checkpoint)
    path = export_backbone(checkpoint, tmp_path / 'clip_mini')
    assert path.name == 'clip_mini.safetensors' and path.stat().st_size < 8e6 - 1e4
    halved = model.clip.eval().half().float()
    exported = CLIP(**json.loads((ROOT / 'weights/clip_mini.json').read_text())).eval()
    exported.load_state_dict(load_file(path))
    assert all(torch.equal(value, halved.state_dict()[name]) for name, value in exported.state_dict().items())
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        wanted = halved.encode_image(image)
        assert torch.equal(exported.encode_image(image), wanted)
        tower = TimmViT('vit_mini_patch8_clip_64', weights=str(path), num_classes=160).model.eval()
        torch.testing.assert_close(tower(image), wanted, rtol=1e-5, atol=1e-5)


def timm_vit_mini():
    return TimmViT('vit_mini_patch8_64').model


def test_to_google_is_the_inverse(tmp_path):
    theirs, ours = drawn(vit()), vit()
    np.savez(tmp_path / 'file.npz', **{k: v.numpy() for k, v in to_google(theirs.state_dict(), head_width=8).items()})
    load_weights(ours, tmp_path / 'file.npz')
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())


def test_what_google_has_no_name_for():
    with pytest.raises(ValueError, match=r"Google's ViT has no blocks\.0\.ls1\.gamma"):
        to_google(vit(init_values=0.5).state_dict(), head_width=8)


def test_no_pre_training_run(tmp_path):
    torch.save(dict(state_dict=vit().state_dict()), tmp_path / 'file.pth')
    with pytest.raises(ValueError, match=r'no run of .* holds cls_token'):
        export_backbone(tmp_path / 'file.pth', tmp_path / 'out')
    assert not list(tmp_path.glob('out*'))


def test_the_tool(run, tmp_path, monkeypatch, capsys):
    _, checkpoint, _ = run
    tool = str(ROOT / 'tools/export_backbone.py')
    monkeypatch.setattr('sys.argv', [tool, str(checkpoint), str(tmp_path / 'out')])
    runpy.run_path(tool, run_name='__main__')
    assert capsys.readouterr().out.startswith(str(tmp_path / 'out.'))
    monkeypatch.setattr('sys.argv', [tool, str(tmp_path / 'none.pth'), str(tmp_path / 'out')])
    with pytest.raises(SystemExit, match='there is no weight file'):
        runpy.run_path(tool, run_name='__main__')
