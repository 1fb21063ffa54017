"""timm's Swin transformers, taken apart. What every net must do is in ``test_contract.py``."""

import pytest
import timm
import torch
from networks import CLASSES, NETWORKS, SIZE, WIDTH, Seen, images, tiny, wrapped
from torch import nn

import vptx
from vptx.backbones import Context, TimmSwin, wrap_backbone
from vptx.prompted import PromptedBackbone, PromptedNetwork
from vptx.registry import NETS, build

SWINS = [name for name in NETWORKS if name.startswith('swin')]
every_swin = pytest.mark.parametrize('network', SWINS)
DEEP, SHALLOW = (dict(type=f'{kind}Prompter', num_tokens=3) for kind in ('Deep', 'Shallow'))


def test_facts_are_read_off_the_network():
    net = wrap_backbone(tiny('swin'))
    facts = net.geometry
    assert (facts.widths, facts.lengths) == ((16, 16, 32, 32), (64, 64, 16, 16))
    assert (facts.patch, facts.image, facts.prefix, facts.tokens) == ((4, 4), (SIZE, SIZE), 0, 64)
    assert (net.stages, net.readout, net.has_class_token) == ((1, 3), 'mean', False)
    assert facts.doors == {'image', 'tokens', 'memory', 'inside', 'logits'}
    assert wrapped('swin v2').geometry.doors == facts.doors


def test_by_name_it_has_no_classifier_and_takes_any_size():
    small = dict(embed_dim=8, depths=(1, 1), num_heads=(1, 2))
    prompted_network = PromptedNetwork(
        build(NETS, dict(type='TimmSwin', model='swin_tiny_patch4_window7_224', **small))
    ).eval()
    assert prompted_network(images(2, (64, 64))).shape == prompted_network(images(2, (24, 40))).shape == (2, 16)


@pytest.mark.parametrize('model', ['resnet18', nn.Linear(2, 2)], ids=['resnet18', 'linear'])
def test_not_a_swin(model):
    with pytest.raises(ValueError, match=r'TimmSwin wraps timm SwinTransformers .*, not (ResNet|Linear)'):
        TimmSwin(model, **({'dynamic_img_size': None} if isinstance(model, str) else {}))


def test_another_size_where_masks_are_fixed():
    net = wrap_backbone(timm.create_model('swin_tiny_patch4_window7_224', embed_dim=8, depths=(1,), num_heads=(1,)))
    with pytest.raises(ValueError, match=r'an image of 32 x 32 px, but swin_tiny.* was built for 224 x 224 px'):
        net.embed(images())


def test_swin_of_another_kind_has_the_door_of_the_image():
    model = timm.create_model('swinv2_cr_tiny_224', img_size=64, embed_dim=8, depths=(1,), num_heads=(1,))
    with pytest.raises(ValueError, match=r'DeepPrompter enters by tokens, but swinv2_cr_tiny_224.* has no door tokens'):
        vptx.attach(model, DEEP)


def test_attention_of_another_kind_leaves_the_image_alone():
    class Another(type(tiny('swin').layers[0].blocks[0].attn)):
        """Of a user, or of a later timm: computes who knows what."""

    model = tiny('swin')
    model.layers[0].blocks[0].attn.__class__ = Another
    assert wrap_backbone(model).geometry.doors == {'image', 'logits'}


@every_swin
@pytest.mark.parametrize('size', [(32, 32), (48, 40), (16, 16)])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64], ids=['single', 'double'])
def test_attention_spelt_out_is_timms_own(network, size, dtype):
    """With a memory of no tokens: windows, shifts, padding and biases at the same places."""
    net, bound = wrap_backbone(tiny(network)).to(dtype), {torch.float32: 1e-5, torch.float64: 1e-12}[dtype]
    tokens, context = net.embed(images(2, size if size[1] % net.geometry.patch[1] == 0 else (48, 48)).to(dtype))
    for layer in range(net.geometry.depth):
        tokens, context = net.merge(tokens, layer, context)
        expected = net.block(tokens, layer, context)
        nothing = tokens.new_zeros(0, tokens.shape[-1])
        torch.testing.assert_close(net.block(tokens, layer, context, nothing), expected, rtol=bound, atol=bound)
        tokens = expected


def test_prompts_in_windows_by_hand():
    """One window of timm's own attention on a longer sequence, its bias table zero: prompts and patches alike."""
    net = wrap_backbone(tiny('swin')).double()
    block, tokens = net.module_of(3), torch.randn(2, 5 + 16, WIDTH).double()
    block.attn.relative_position_bias_table.data.zero_()
    ours = net.block(tokens, 3, Context((4, 4)))
    called = net._calling(block, (4, 4))(tokens, None)
    block.attn.window_area = 21
    block.attn.relative_position_index = torch.zeros(21, 21, dtype=torch.long)
    expected = tokens + block.attn(block.norm1(tokens))
    expected = expected + block.mlp(block.norm2(expected))
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(called, expected, rtol=1e-12, atol=1e-12)


def test_prompts_merge_as_four_copies():
    net = wrap_backbone(tiny('swin')).double()
    _, context = net.embed(images().double())
    tokens = torch.randn(2, 3 + 64, WIDTH // 2).double()
    merged, after = net.merge(tokens, 2, context)
    downsample = net.model.layers[1].downsample
    by_hand = downsample.reduction(downsample.norm(tokens[:, :3].repeat(1, 1, 4)))
    torch.testing.assert_close(merged[:, :3], by_hand)
    assert (merged.shape, after.grid) == ((2, 3 + 16, WIDTH), (4, 4))


@every_swin
def test_shallow_prompts_of_a_batch_do_not_mix(network):
    """Where the public code's do: three images, several windows."""
    model, batch = vptx.attach(tiny(network), SHALLOW).eval(), images(3)
    torch.testing.assert_close(model(batch), torch.cat([model(image[None]) for image in batch]), rtol=1e-4, atol=1e-5)


def test_keys_and_values_once_for_all_windows():
    model = vptx.attach(tiny('swin'), DEEP).eval()
    with Seen(nn.functional.layer_norm) as normed:
        model(images(5))
    # The embedding's norm comes first, then that of prompts and that of patches in front of attention.
    assert normed.shapes[:4] == [(5, 8, 8, 16), (3, 16), (5, 64, 16), (5, 64, 16)]


@every_swin
@pytest.mark.parametrize('prompter', [DEEP, SHALLOW, None], ids=['deep', 'shallow', 'none'])
def test_maps_of_all_stages(network, prompter):
    prompted_network = PromptedBackbone(wrap_backbone(tiny(network)), readout='maps')
    vptx.attach(prompted_network, prompter).eval()
    maps, expected = prompted_network(images()), tiny(network).forward_intermediates(images(), intermediates_only=True)
    assert [m.shape for m in maps] == [e.shape for e in expected]
    if prompter is None:
        for ours, theirs in zip(maps, expected, strict=True):  # new norms: weight one, bias zero
            normed = nn.functional.layer_norm(theirs.permute(0, 2, 3, 1), theirs.shape[1:2]).permute(0, 3, 1, 2)
            torch.testing.assert_close(ours, normed, rtol=1e-5, atol=1e-5)


def test_the_norms_of_maps_can_be_tuned_and_go_with_the_readout():
    network = tiny('swin')
    model = vptx.attach(network, DEEP, tune=['map_norms'], readout='maps')
    assert {n for n, p in model.named_parameters() if p.requires_grad and 'prompter' not in n} == {
        f'map_norms.{i}.{part}' for i in range(2) for part in ('weight', 'bias')
    }
    sum(m.square().sum() for m in model(images())).backward()
    assert model.map_norms[0].weight.grad.any()
    assert vptx.detach(model) is network
    own = PromptedBackbone(wrap_backbone(network), readout='maps')
    own.map_norms[0].weight.data.fill_(2)
    vptx.detach(vptx.attach(own, DEEP))
    assert own.map_norms[0].weight.eq(2).all()


@pytest.mark.parametrize(('network', 'layers'), [('plain', [0, 2]), ('registers', [-1, 0]), ('swin', [0, 3])])
@pytest.mark.parametrize('norm', ['none', 'final'])
def test_maps_of_chosen_layers(network, layers, norm):
    """Of a ViT as timm gives its intermediate features, of a Swin block by block; without prompts, however they go."""
    net = wrap_backbone(tiny(network))
    readout = dict(maps=layers, norm=norm)
    model = vptx.attach(tiny(network), readout=readout).eval()
    maps, image = model(images()), images()
    tokens, context = net.embed(image)
    outputs = {}
    for layer in range(net.geometry.depth):
        tokens, context = net.merge(tokens, layer, context)
        tokens = outputs[layer] = net.block(tokens, layer, context)
        last = norm == 'final' and layer == net.geometry.depth - 1
        patches = (net.finish(tokens) if last else tokens)[:, net.geometry.prefix :]
        outputs[layer] = patches.transpose(1, 2).unflatten(2, context.grid)
    for ours, layer in zip(maps, layers, strict=True):
        assert torch.equal(ours, outputs[layer % net.geometry.depth])
    for prompter in (DEEP, SHALLOW):
        prompted = vptx.attach(tiny(network), prompter, readout=readout).eval()(image)
        assert [m.shape for m in prompted] == [m.shape for m in maps]


@pytest.mark.parametrize(
    ('readout', 'message'),
    [
        (dict(maps=[4]), r'maps of layers \[4\] are out of range: there are layers 0 to 3'),
        (dict(maps=[1, -3]), 'one of them is there twice'),
        (dict(maps=[]), r'a readout is a name or dict\(maps=\[layers\]'),
        (dict(maps='all'), 'a readout is a name or dict'),
        (dict(maps=[1], size=2), 'a readout is a name or dict'),
        (dict(maps=[1], norm='batch'), "norm of maps must be one of none, final, each, projected, not 'batch'"),
        ([1, 2], 'a readout is a name or dict'),
    ],
    ids=str,
)
def test_maps_that_cannot_be(readout, message):
    with pytest.raises(ValueError, match=message):
        vptx.attach(tiny('swin'), DEEP, readout=readout)


def test_added_vectors_follow_the_number_of_tokens():
    model = vptx.attach(tiny('swin'), dict(type='AddedPrompter', deep=True))
    assert [tuple(row.shape) for row in model.prompter.embedding.rows] == [(64, 16), (64, 16), (16, 32), (16, 32)]
    assert model(images()).shape == (2, CLASSES)
