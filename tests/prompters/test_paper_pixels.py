"""Learnt pixels as the public VPT code has them: in [0, 1], and normalised in each forward.

So a gradient to them is the one to what the network sees, divided by the standard deviation, and the learning rates of
the paper mean pixels: in normalised space the same rate would move them 1 / std**2 times as far, about 19 times.
"""

import pytest
import torch
from mmengine.config import Config
from networks import PATCH, SIZE, images, tiny
from runs import REPO
from torch import Tensor, nn

import vptx

PAD = 4
# ImageNet's, written out: what torchvision's Normalize of the public code is given.
MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
PADDED = ['configs/vtab/resnet50_in1k_pad.py', 'configs/cls/convnextb_in22k_cub_pad.py']


def paper_frame(config: str) -> dict:
    """The prompter of a config of the paper, with a frame for a small image."""
    hook = Config.fromfile(REPO / config).custom_hooks[0]
    return dict(hook.prompter, pad_size=PAD)


def framed(rows: Tensor, columns: Tensor, image: Tensor) -> Tensor:
    """The sentence of the public code: a frame of pixels, normalised, around an image that is normalised already."""
    top, bottom = ((part - MEAN) / STD for part in (rows[:, :PAD], rows[:, PAD:]))
    left, right = ((part - MEAN) / STD for part in (columns[:, :, :PAD], columns[:, :, PAD:]))
    batch = [torch.cat([top, torch.cat([left, one, right], dim=2), bottom], dim=1) for one in image]
    return torch.stack(batch)


@pytest.mark.parametrize('config', PADDED)
def test_a_frame_is_pixels_that_are_normalised_in_the_forward(config):
    model = vptx.attach(tiny('ResNet'), paper_frame(config)).eval()
    learnt, image = model.prompter, images()
    for part in (learnt.rows, learnt.columns):  # pixels of U(0, 1)
        assert part.min() >= 0 and part.max() <= 1
        assert part.mean().item() == pytest.approx(0.5, abs=0.05)
    rows, columns = (part.detach().clone().requires_grad_() for part in (learnt.rows, learnt.columns))
    expected = framed(rows, columns, image)
    torch.testing.assert_close(learnt.image(image), expected)
    # The gradients, by the library's own network on the framed images.
    tiny('ResNet')(expected).square().sum().backward()
    model(image).square().sum().backward()
    for ours, theirs in ((learnt.rows, rows), (learnt.columns, columns)):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-4 * theirs.grad.abs().max().item())


def test_a_rate_moves_pixels_by_the_gradient_to_what_the_network_sees_over_the_deviation():
    """One step of SGD at a rate of 1, in the numbers of the network: -g / std**2 against -g."""
    image, steps = images(), {}
    for space in ('unit', 'normalised'):
        torch.manual_seed(0)
        model = vptx.attach(tiny('ResNet'), dict(type='PadPrompter', pad_size=PAD, space=space)).eval()
        before = model.prompter.image(image).detach()
        model(image).square().sum().backward()
        torch.optim.SGD(model.prompter.parameters(), lr=1.0).step()
        steps[space] = model.prompter.image(image).detach() - before
    ratio = (steps['unit'] * STD**2 - steps['normalised']).abs().max() / steps['normalised'].abs().max()
    assert ratio < 1e-3
    assert (1 / STD**2).mean().item() == pytest.approx(19.6, abs=0.1)


def test_prepended_pixels_are_normalised_in_the_forward():
    """Two patches, their tokens, and the gradient worked out from the kernels of the patch embedding."""
    options = dict(type='PrependedPixelPrompter', num_tokens=2, init='normalised', space='unit')
    model = vptx.attach(tiny(), options).eval()
    strip, proj = model.prompter.strip, model.net.model.patch_embed.proj
    mean, std = (torch.tensor(values)[:, None, None] for values in (model.net.geometry.mean, model.net.geometry.std))
    assert strip.min() >= 0 and strip.max() <= 1 and strip.mean().item() == pytest.approx(0.5, abs=0.1)
    seen = (strip.detach() - mean) / std
    expected = torch.stack([(proj.weight * seen[:, :, at : at + PATCH]).sum((1, 2, 3)) for at in (0, PATCH)])
    entering = []
    model.net.model.blocks[0].norm1.register_forward_hook(lambda module, inputs, output: entering.append(inputs[0]))
    model(images())
    prefix = model.net.geometry.prefix
    tokens = entering[0][:, prefix : prefix + 2]
    torch.testing.assert_close(tokens, (expected + proj.bias).expand(2, -1, -1))
    probe = torch.randn(2, 2, len(proj.weight), generator=torch.Generator().manual_seed(0))
    (tokens * probe).sum().backward()
    per_patch = torch.einsum('bpd,dchw->pchw', probe, proj.weight) / std
    torch.testing.assert_close(strip.grad, torch.cat(list(per_patch), dim=2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('init', ['uniform', 'gaussian', 'normalised'])
def test_prepended_pixels_are_the_same_patches_in_every_space(init):
    """Those of U(0, 1), that is; uniform and Gaussian numbers are numbers of the space."""
    geometry = vptx.attach(tiny()).net.geometry
    mean, std = (torch.tensor(values)[:, None, None] for values in (geometry.mean, geometry.std))
    learnt, seen = {}, {}
    for space in ('normalised', 'unit', 'symmetric'):
        torch.manual_seed(0)
        options = dict(type='PrependedPixelPrompter', num_tokens=3, init=init, space=space)
        prompter = vptx.attach(tiny(), options).prompter
        learnt[space], seen[space] = prompter.strip.detach(), prompter.pixels().detach()
    assert torch.equal(learnt['normalised'], seen['normalised'])
    torch.testing.assert_close(seen['unit'], (learnt['unit'] - mean) / std)
    torch.testing.assert_close(seen['symmetric'], (0.5 + 0.5 * learnt['symmetric'] - mean) / std)
    if init == 'normalised':
        torch.testing.assert_close(seen['unit'], seen['normalised'])
        torch.testing.assert_close(seen['symmetric'], seen['normalised'])
    else:
        assert torch.equal(learnt['unit'], learnt['normalised'])


def test_a_space_of_prepended_pixels_that_is_none():
    with pytest.raises(ValueError, match="space must be one of 'normalised', 'unit', 'symmetric', not 'rgb'"):
        vptx.prompters.PrependedPixelPrompter(space='rgb')


def test_the_colour_around_is_read_off_the_network():
    """Black, in the numbers of each network: what zero is in [0, 1]."""
    for name in ('ResNet', 'ConvNeXt'):
        model: nn.Module = vptx.attach(tiny(name), dict(type='PadPrompter', pad_size=PAD, space='unit', init='zero'))
        mean, std = (torch.tensor(v)[:, None] for v in (model.net.geometry.mean, model.net.geometry.std))
        corner = model.prompter.image(torch.zeros(1, 3, SIZE, SIZE))[0, :, 0, :PAD]
        torch.testing.assert_close(corner, (-mean / std).expand(3, PAD))
