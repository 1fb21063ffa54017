"""Adaptive prompts: made of each image, and of nothing at the start."""

import pytest
import torch
import torch.nn.functional as F
from exact import exact, frozen, pictures, same
from networks import WIDTH, images

import vptx
from vptx.geometry import At


def test_the_equation():
    prompter = exact('AdaptivePrompter').prompter
    tokens = torch.randn(2, 17, WIDTH, dtype=torch.float64)
    normed = prompter.norms[0](tokens[:, 1:]).transpose(1, 2).unflatten(2, (4, 4))
    kernel = prompter.kernels[0].expand(WIDTH, -1, -1, -1)
    mixed = F.conv2d(normed, kernel, groups=WIDTH).flatten(2)
    z = prompter.positions[0](mixed).transpose(1, 2)
    expected = z + prompter.ups[str(WIDTH)](F.relu(prompter.downs[str(WIDTH)](z)))
    assert same(prompter.prompts(tokens, At(1, (4, 4))), expected)


def test_prompts_of_later_layers_begin_as_zeros():
    prompter = exact('AdaptivePrompter', std=0.0).prompter
    tokens = torch.randn(2, 17, WIDTH, dtype=torch.float64)
    assert not prompter.prompts(tokens, At(2, (4, 4))).any()
    assert prompter.prompts(tokens, At(0, (4, 4))).any()


def test_images_make_prompts_of_their_own_alone():
    model = exact('AdaptivePrompter')
    batch = pictures(5)
    expected = model(batch)
    order = torch.tensor([3, 0, 4, 2, 1])
    assert same(model(batch[order]), expected[order])
    assert same(torch.cat([model(image[None]) for image in batch]), expected)


def test_another_grid_and_no_grid():
    model = vptx.attach(frozen(), dict(type='AdaptivePrompter')).double()
    with pytest.raises(ValueError, match=r'weights for 4 x 4 patches before layer 1, this image has 4 x 6'):
        model(images(size=(32, 48)).double())
    with pytest.raises(ValueError, match=r'dropout must be in \[0, 1\), not 1'):
        exact('AdaptivePrompter', dropout=1)
