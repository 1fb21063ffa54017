"""timm's vision transformers, taken apart. What every net must do is in ``test_contract.py``."""

import re

import pytest
import timm
import torch
from networks import CLASSES, DEPTH, GRID, NETWORKS, PATCH, SIZE, WIDTH, images, tiny, wrapped
from torch import nn

import vptx
from vptx.backbones import TimmViT, wrap_backbone
from vptx.prompted import PromptedNetwork
from vptx.registry import NETS, build

TAKEN_APART = [name for name in NETWORKS if type(wrapped(name)) is TimmViT and 'blocks' not in name]


@pytest.mark.parametrize(
    ('network', 'prefix', 'has_class_token', 'readout'),
    [
        ('plain', 1, True, 'cls'),
        ('averaged', 1, True, 'mean'),
        ('distilled', 2, True, 'cls'),
        ('clip', 1, True, 'cls'),
        ('registers', 5, True, 'cls'),
        ('no class token', 0, False, 'mean'),
        ('attention pooling', 0, False, 'logits'),
    ],
)
def test_facts_are_read_off_the_network(network, prefix, has_class_token, readout):
    net = wrap_backbone(tiny(network))
    facts = net.geometry
    assert facts.widths == (WIDTH,) * DEPTH
    assert (facts.patch, facts.image) == ((PATCH, PATCH), (SIZE, SIZE))
    assert (facts.prefix, facts.tokens) == (prefix, prefix + GRID**2)
    assert (net.has_class_token, net.readout) == (has_class_token, readout)
    assert facts.doors == {'image', 'tokens', 'memory', 'inside', 'logits'}


def test_sites_are_the_modules_that_the_network_calls():
    net = wrap_backbone(tiny())
    names = ['norm1', 'qkv', 'proj', 'attn', 'norm2', 'fc1', 'fc2', 'mlp']
    assert [site.name for site in net.geometry.sites] == ['embed', *names * DEPTH, 'norm']
    called = []
    for site in net.geometry.sites:
        net.module_at(site).register_forward_hook(lambda _, inputs, output, site=site: called.append((site, output)))
    net.model(images())
    assert sorted(map(str, net.geometry.sites)) == sorted(str(site) for site, _ in called)
    assert all(output.shape[-1] == site.outputs for site, output in called)
    assert wrapped('parallel blocks').geometry.sites == ()


def test_pixel_statistics_are_those_of_the_network():
    assert wrapped('clip').geometry.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))
    assert wrapped('plain').geometry.std == (0.5, 0.5, 0.5)


def test_the_name_is_what_was_asked_for_or_what_timm_calls_it():
    assert TimmViT('vit_mini_patch8_64').geometry.name == 'vit_mini_patch8_64'
    assert wrap_backbone(timm.create_model('vit_mini_patch8_64')).geometry.name.startswith('vit_mini_patch8_64')


def test_by_name_it_has_no_classifier_and_takes_any_size():
    net = build(NETS, dict(type='TimmViT', model='vit_mini_patch8_64', embed_dim=32, depth=2, num_heads=2))
    prompted = PromptedNetwork(net).eval()
    assert prompted(images(2, (64, 64))).shape == prompted(images(2, (24, 40))).shape == (2, 32)
    assert net.model.num_classes == 0
    assert TimmViT('vit_mini_patch8_64', num_classes=CLASSES).model.num_classes == CLASSES


def test_vit_mini_is_what_it_says():
    net = TimmViT('vit_mini_patch8_64')
    assert net.geometry.depth == 6
    assert net.geometry.tokens == 65
    assert sum(parameter.numel() for parameter in net.parameters()) == pytest.approx(2.7e6, rel=0.02)


def test_the_image_tower_of_clip_mini_is_what_it_says():
    """A norm before the blocks, patches without a bias; the head is the projection."""
    net = TimmViT('vit_mini_patch8_clip_64', num_classes=160)
    assert net.model.patch_embed.proj.bias is None and isinstance(net.model.norm_pre, nn.LayerNorm)
    assert (net.geometry.depth, net.geometry.tokens) == (6, 65)
    with torch.no_grad():
        assert net.model(images(2, (64, 64))).shape == (2, 160)


def test_unknown_name():
    with pytest.raises(ValueError, match=r"timm has no network 'vit_base_patch16_242'. Nearest: .*vit_base"):
        TimmViT('vit_base_patch16_242')
    with pytest.raises(ValueError, match=r"timm has no network 'xyzzy'. Nearest: none"):
        TimmViT('xyzzy')


@pytest.mark.parametrize('model', ['resnet18', nn.Linear(2, 2)], ids=['resnet18', 'linear'])
def test_not_a_vision_transformer(model):
    with pytest.raises(ValueError, match=r'TimmViT wraps timm VisionTransformers, not (ResNet|Linear)'):
        TimmViT(model, **({'dynamic_img_size': None} if isinstance(model, str) else {}))


@pytest.mark.parametrize('size', [(33, 32), (32, 31), (4, 4)])
def test_a_size_that_patches_do_not_divide(size):
    with pytest.raises(ValueError, match=rf'patches of 8 x 8 px do not divide an image of {size[0]} x {size[1]} px'):
        wrap_backbone(tiny()).embed(images(size=size))


def test_another_size_where_positions_are_fixed():
    fixed = timm.create_model('vit_mini_patch8_64', embed_dim=32, depth=1, num_heads=2)
    net = wrap_backbone(fixed)
    with pytest.raises(ValueError, match=r'an image of 32 x 32 px, but vit_mini.* was built for 64 x 64 px: .*dynamic'):
        net.embed(images(size=(32, 32)))
    tokens, context = net.embed(images(size=(64, 64)))
    assert tokens.shape == (2, 65, 32)
    assert context.grid == (8, 8)


@pytest.mark.parametrize('network', TAKEN_APART)
@pytest.mark.parametrize('training', [False, True])
def test_attention_spelt_out_is_timms_own(network, training):
    """With a memory of no tokens, in training mode too: dropout and drop path at the same places, bit for bit."""
    net = wrap_backbone(tiny(network)).train(training)
    tokens, context = net.embed(images(4))
    nothing = torch.zeros(0, WIDTH)
    for layer in range(DEPTH):
        torch.manual_seed(layer)
        expected = net.block(tokens, layer, context)
        torch.manual_seed(layer)
        torch.testing.assert_close(net.block(tokens, layer, context, nothing), expected, rtol=1e-6, atol=1e-6)
        tokens = expected


@pytest.mark.parametrize('network', TAKEN_APART)
def test_memory_is_what_tokens_would_be_to_the_others(network):
    """A block of timm's on the longer sequence, less the rows of the memory; shared by the batch or of each sample."""
    net = wrap_backbone(tiny(network)).double()
    tokens, context = net.embed(images(3).double())
    for memory in (torch.randn(5, WIDTH).double(), torch.randn(3, 5, WIDTH).double()):
        longer = torch.cat([memory.expand(3, -1, -1), tokens], 1)
        expected = net.block(longer, 1, context)[:, 5:]
        torch.testing.assert_close(net.block(tokens, 1, context, memory), expected, rtol=1e-12, atol=1e-12)
        ready = net.keys_values(memory, 1)
        assert torch.equal(net.block(tokens, 1, context, ready), net.block(tokens, 1, context, memory))


def test_without_fused_attention(monkeypatch):
    """timm's other way of computing the same."""
    plain = wrap_backbone(tiny())
    tokens, context = plain.embed(images())
    memory = torch.randn(5, WIDTH)
    for block in plain.model.blocks:
        block.attn.fused_attn = False
    longer = plain.block(torch.cat([memory.expand(2, -1, -1), tokens], 1), 0, context)[:, 5:]
    torch.testing.assert_close(plain.block(tokens, 0, context, memory), longer, rtol=1e-5, atol=1e-5)


def test_attention_of_another_kind_keeps_its_doors_1_and_2():
    model = tiny()
    model.blocks[1].attn.gate = nn.Linear(WIDTH, WIDTH)
    assert 'memory' not in wrap_backbone(model).geometry.doors

    class Another(type(model.blocks[2].attn)):
        """Of a user, or of a later timm: computes who knows what."""

    model = tiny()
    model.blocks[2].attn.__class__ = Another
    assert wrap_backbone(model).geometry.doors == {'image', 'tokens', 'logits'}


def test_take_apart_says_what_it_knows():
    with pytest.raises(
        ValueError, match=re.escape('no backbone wrapper supports torch.nn.modules.linear.Linear. Available wrappers: ')
    ):
        wrap_backbone(nn.Linear(2, 2))


def test_init_weights_draws_nothing_new():
    net = wrap_backbone(tiny())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.init_weights()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize('kind', ['DeepPrompter', 'ShallowPrompter'])
def test_deit_iii_gives_its_class_token_no_position_and_its_prompts_none(kind):
    """timm's own blocks on the longer sequence, put together by hand."""
    model, own = vptx.attach(tiny('DeiT III'), dict(type=kind, num_tokens=2)).double().eval(), tiny('DeiT III').double()
    rows = [row.data.normal_() for row in model.prompter.embedding.rows]
    tokens = own._pos_embed(own.patch_embed(images().double()))
    assert torch.equal(tokens[:, 0], own.cls_token[0].expand(2, -1))
    for layer, block in enumerate(own.blocks):
        if layer < len(rows):
            kept = tokens[:, 1 if layer == 0 else 3 :]
            tokens = torch.cat([tokens[:, :1], rows[layer].expand(2, -1, -1), kept], dim=1)
        tokens = block(tokens)
    expected = own.forward_head(own.norm(tokens))
    torch.testing.assert_close(model(images().double()), expected, rtol=1e-11, atol=1e-11)
