"""Linear layers of a folded network: the same numbers, the same modules, and their own way wherever that matters."""

import timm
import torch
from torch import nn

import vptx
from vptx.backbones.linear import FusedLinear, linear

TINY = dict(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=5)


def of_type(model, kind):
    return [name for name, module in model.named_modules() if type(module) is kind]


def test_the_same_numbers():
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 7, 24), torch.randn(9, 24), torch.randn(9)
    expected = nn.functional.linear(x, weight, bias)
    with torch.no_grad():
        torch.testing.assert_close(linear(x, weight, bias), expected, atol=1e-5, rtol=1e-5)
        assert linear(x.double(), weight.double(), bias.double()).dtype == torch.float64
        assert torch.equal(linear(x, weight, None), nn.functional.linear(x, weight))
        with torch.autocast('cpu', torch.bfloat16):
            assert linear(x, weight, bias).dtype == torch.bfloat16
    assert linear(x, weight.requires_grad_(), bias).requires_grad  # who needs a graph gets one


def test_folding_and_back():
    torch.manual_seed(0)
    model = timm.create_model('vit_tiny_patch16_224', **TINY).eval()
    own, image = of_type(model, nn.Linear), torch.randn(2, 3, 32, 32)
    model = vptx.attach(model, dict(type='DeepPrompter', num_tokens=3), tune=['head'])
    calls, before = [], of_type(model, nn.Linear)
    model.get_submodule(next(name for name in before if name.endswith('fc1'))).register_forward_hook(
        lambda *_: calls.append(1)
    )
    keys = list(model.state_dict())
    with torch.no_grad():
        expected = model.eval()(image)
        vptx.fold(model)
        assert not of_type(model, nn.Linear) and len(of_type(model, FusedLinear)) == len(before) == len(own)
        torch.testing.assert_close(model(image), expected, atol=1e-5, rtol=1e-5)
    assert len(calls) == 2 and list(model.state_dict()) == keys  # hooks and names stay
    model.train()
    assert of_type(model, nn.Linear) == before and not of_type(model, FusedLinear)
