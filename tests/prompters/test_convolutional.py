"""Mona and Convpass: bottlenecks that see patches as a map."""

import pytest
import torch
import torch.nn.functional as F
from clips import side
from exact import exact, frozen, pictures, same
from networks import DEPTH, WIDTH
from torch import Tensor

from vptx.geometry import At
from vptx.prompters.grid import over_grid


def test_patches_are_a_map_and_other_tokens_are_alone():
    conv = torch.nn.Conv2d(5, 5, 3, padding=1).double()
    tokens = torch.randn(2, 3 + 6, 5, dtype=torch.float64)
    found = over_grid(conv, tokens, (2, 3))
    assert same(found[:, 3:], conv(tokens[:, 3:].mT.unflatten(2, (2, 3))).flatten(2).mT)
    centre = F.linear(tokens[:, :3], conv.weight[:, :, 1, 1], conv.bias)
    assert same(found[:, :3], centre)
    assert same(over_grid(conv, tokens[:, :1], (2, 3)), centre[:, :1])
    assert over_grid(conv, tokens[:0], (2, 3)).shape == (0, 9, 5)


def convpass(branch: torch.nn.ModuleDict, x: Tensor) -> Tensor:
    """The equation: the class token, then 4 x 4 patches."""
    hidden = branch['down'](x)
    hidden = hidden * torch.sigmoid(1.702 * hidden)
    conv = branch['conv']
    patches = conv(hidden[:, 1:].mT.unflatten(2, (4, 4))).flatten(2).mT
    hidden = torch.cat([F.linear(hidden[:, :1], conv.weight[:, :, 1, 1], conv.bias), patches], dim=1)
    return branch['up'](hidden * torch.sigmoid(1.702 * hidden))


def test_convpass_is_next_to_attention_and_mlp():
    model = exact('Convpass', scale=0.7)
    tokens, _ = model.net.embed(pictures())
    for layer, block in enumerate(model.net.model.blocks):
        attn, mlp = (model.prompter.branches[f'{name}_{layer}'] for name in ('attn', 'mlp'))
        normed = block.norm1(tokens)
        parts = F.linear(normed, block.attn.qkv.weight, block.attn.qkv.bias)
        query, key, value = parts.unflatten(2, (3, 4, -1)).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tokens = tokens + F.linear(out, block.attn.proj.weight, block.attn.proj.bias) + 0.7 * convpass(attn, normed)
        normed = block.norm2(tokens)
        tokens = tokens + block.mlp.fc2(F.gelu(block.mlp.fc1(normed))) + 0.7 * convpass(mlp, normed)
    assert same(model(pictures()), model.net.model.forward_head(model.net.model.norm(tokens)))


@pytest.mark.parametrize(
    ('kind', 'same_as_frozen'), [('Convpass', True), ('RepAdapter', True), ('FacT', True), ('Mona', False)]
)
def test_whether_it_begins_as_the_network(kind, same_as_frozen):
    assert same(exact(kind, std=0.0)(pictures()), frozen()(pictures())) is same_as_frozen


def test_mona_stands_after_attention_and_after_the_mlp():
    model = exact('Mona', hidden=6)
    tokens, _ = model.net.embed(pictures())
    for layer, block in enumerate(model.net.model.blocks):
        tokens = mona(model.prompter.branches[f'attn_{layer}'], tokens + block.attn(block.norm1(tokens)))
        tokens = mona(model.prompter.branches[f'mlp_{layer}'], tokens + block.mlp(block.norm2(tokens)))
    assert same(model(pictures()), model.net.model.forward_head(model.net.model.norm(tokens)))


def mona(branch: torch.nn.Module, x: Tensor) -> Tensor:
    """The equation: the class token, then 4 x 4 patches."""
    z = branch.down(branch.norm(x) * branch.share + x * branch.shortcut)
    parts = []
    for part, grid in ((z[:, :1], (1, 1)), (z[:, 1:], (4, 4))):
        maps = part.mT.unflatten(2, grid)
        u = maps + sum(conv(maps) for conv in branch.depthwise) / 3
        u = u + F.conv2d(u, branch.pointwise.weight, branch.pointwise.bias)
        parts.append(u.flatten(2).mT)
    return x + branch.up(F.gelu(torch.cat(parts, dim=1)))


def test_mona_after_the_mlp_alone_needs_no_middle():
    model = exact('Mona', 'CaiT', after=('mlp',))
    assert model(pictures()).isfinite().all()
    with pytest.raises(ValueError, match=r'Mona enters by memory, tokens, but cait_xxs24_224.* has no door memory'):
        exact('Mona', 'CaiT')


@pytest.mark.parametrize('kind', ['Mona', 'Convpass', 'AdaptivePrompter', 'ExplicitPrompter'])
def test_a_network_without_a_grid(kind):
    with pytest.raises(ValueError, match=rf'{kind} convolves the grid of the patches of an image, and .* has none'):
        side(dict(type=kind))
    with pytest.raises(ValueError, match=r'has no door'):
        exact(kind, 'ConvNeXt')


def test_windows_are_no_map():
    with pytest.raises(
        ValueError, match=r'Convpass convolves .* as one map, and .*swin.* cuts it into windows: next_to='
    ):
        exact('Convpass', 'swin')
    assert exact('Convpass', 'swin', next_to=('mlp',))(pictures()).isfinite().all()


@pytest.mark.parametrize(
    ('kind', 'options', 'message'),
    [
        ('Convpass', dict(next_to=('head',)), "next_to must name 'attn', 'mlp' or both, not"),
        ('Convpass', dict(hidden=0), 'hidden must be a whole number of at least 1, not 0'),
        ('Mona', dict(after='mlp'), "after must name 'attn', 'mlp' or both, not 'mlp'"),
        ('Mona', dict(dropout=2), r'dropout must be in \[0, 1\), not 2'),
        ('Mona', dict(layers=[7]), r'layers \[7\] are out of range'),
    ],
)
def test_bad_options(kind, options, message):
    with pytest.raises(ValueError, match=message):
        exact(kind, **options)


def test_layers():
    for kind in ('Convpass', 'Mona'):
        model = exact(kind, layers=[0, -1])
        assert sorted(model.prompter.branches) == ['attn_0', f'attn_{DEPTH - 1}', 'mlp_0', f'mlp_{DEPTH - 1}']
        assert model.prompter.settings['layers'] == [0, DEPTH - 1]


def test_what_is_kept_between_modules_is_of_one_forward():
    prompter, grid = exact('Convpass').prompter, (4, 4)
    at = At(0, grid, kept={})
    sites = {site.name: site for site in prompter.sites if site.layer == 0}
    x, y = torch.randn(2, 1, 17, WIDTH, dtype=torch.float64)
    prompter.inside(sites['qkv'], x, torch.zeros(1, 17, 3 * WIDTH, dtype=torch.float64), at)
    found = prompter.inside(sites['attn'], x, y, at)
    assert same(found, y + convpass(prompter.branches['attn_0'], x))
    assert at.kept == {}
