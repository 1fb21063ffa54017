"""Files of Hugging Face's transformers, read into timm's networks, which then compute what transformers computes."""

from collections.abc import Callable
from functools import partial

import pytest
import timm
import torch
from networks import CLASSES, DEPTH, HEADS, PATCH, SIZE, WIDTH, images, tiny
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vptx.weights import load_weights

pytest.importorskip('transformers', reason='transformers 5 needs Python 3.11')

_vit = partial(
    timm.create_model,
    img_size=SIZE,
    patch_size=PATCH,
    embed_dim=WIDTH,
    depth=DEPTH,
    num_heads=HEADS,
    mlp_ratio=2,
    num_classes=CLASSES,
)
_swin = partial(
    timm.create_model,
    'swin_base_patch4_window7_224',
    img_size=SIZE,
    embed_dim=WIDTH // 2,
    depths=(2, 2),
    num_heads=(2, 4),
    mlp_ratio=2,
    num_classes=CLASSES,
)


class Quick(nn.Module):
    """The GELU of OpenAI's CLIP."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


def tokens(model: nn.Module, x: Tensor) -> Tensor:
    return model.forward_features(x)


#: The network that a file comes from, the one that it is read into, and what of the two must be equal.
CASES: dict[str, tuple[str, Callable[[], nn.Module], str, Callable]] = {
    'vit': ('hf vit', partial(_vit, 'vit_base_patch16_224', num_classes=0), 'last_hidden_state', tokens),
    'vit, classifier': ('hf vit, classifier', partial(_vit, 'vit_base_patch16_224'), 'logits', nn.Module.__call__),
    'vit without biases': (
        'hf vit, eager',
        partial(_vit, 'vit_base_patch16_224', qkv_bias=False),
        'logits',
        nn.Module.__call__,
    ),
    'biases of zero': ('hf vit, eager', partial(_vit, 'vit_base_patch16_224'), 'logits', nn.Module.__call__),
    'deit': ('hf deit', partial(_vit, 'deit_tiny_distilled_patch16_224'), 'last_hidden_state', tokens),
    'deit, two classifiers': (
        'hf deit, two classifiers',
        partial(_vit, 'deit_tiny_distilled_patch16_224'),
        'logits',
        nn.Module.__call__,
    ),
    'dinov2': ('hf dinov2', partial(_vit, 'vit_small_patch14_dinov2', num_classes=0), 'last_hidden_state', tokens),
    'dinov2, gated': (
        'hf dinov2, gated',
        partial(_vit, 'vit_giant_patch14_dinov2', mlp_ratio=4, num_classes=0),
        'last_hidden_state',
        tokens,
    ),
    'dinov2, registers': (
        'hf dinov2, registers',
        partial(_vit, 'vit_small_patch14_reg4_dinov2', reg_tokens=2, num_classes=0),
        'last_hidden_state',
        tokens,
    ),
    'dinov3': (
        'hf dinov3',
        partial(_vit, 'vit_small_patch16_dinov3_qkvb', num_reg_tokens=2, num_classes=0),
        'last_hidden_state',
        tokens,
    ),
    'dinov3, gated': (
        'hf dinov3, gated',
        partial(_vit, 'vit_small_plus_patch16_dinov3_qkvb', swiglu_align_to=0, num_reg_tokens=0, num_classes=0),
        'last_hidden_state',
        tokens,
    ),
    'clip': (
        'hf clip',
        partial(_vit, 'vit_base_patch16_clip_224', act_layer=Quick, num_classes=0),
        'pooler_output',
        nn.Module.__call__,
    ),
    'clip, projection': (
        'hf clip, projection',
        partial(_vit, 'vit_base_patch16_clip_224', act_layer=Quick),
        'image_embeds',
        nn.Module.__call__,
    ),
    'siglip': (
        'hf siglip',
        partial(_vit, 'vit_base_patch16_siglip_224', num_classes=0, act_layer='gelu_tanh'),
        'pooler_output',
        nn.Module.__call__,
    ),
    'beit': (
        'hf beit, classifier',
        partial(_vit, 'beit_base_patch16_224', use_shared_rel_pos_bias=True),
        'logits',
        nn.Module.__call__,
    ),
    # Windows that do not divide a map are filled up in another order by timm.
    'swin': ('hf swin, no positions', partial(_swin, window_size=4), 'logits', nn.Module.__call__),
}


def files(model: nn.Module, folder) -> dict:
    """As the library writes it, in the names of the hub; and in the names that it has in memory."""
    model.save_pretrained(folder)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / 'memory.safetensors')
    return {name: folder / f'{name}.safetensors' for name in ('model', 'memory')}


@pytest.mark.parametrize('names', ['model', 'memory'])
@pytest.mark.parametrize('case', CASES)
def test_timm_computes_what_transformers_computes(case, names, tmp_path):
    network, make, part, ours = CASES[case]
    theirs, mine, image = tiny(network), make().eval(), images()
    report = load_weights(mine, files(theirs, tmp_path)[names])
    expected = theirs(image)[part]
    found = ours(mine, image)
    found = found.flatten(1, 2) if found.dim() == 4 else found  # a map of Swin
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())
    assert "Hugging Face's names" in report.title
    assert set(report.as_built) <= {'head.weight', 'head.bias', 'head_dist.weight', 'head_dist.bias'}


def test_the_image_tower_of_a_file_with_a_text_tower(tmp_path):
    theirs = tiny('hf clip, projection')
    tensors = {k: v.contiguous() for k, v in theirs.state_dict().items()}
    others = {'text_model.encoder.layers.0.mlp.fc1.weight': torch.ones(2, 2), 'logit_scale': torch.ones(())}
    save_file({**tensors, **others}, tmp_path / 'both.safetensors')
    mine = _vit('vit_base_patch16_clip_224', act_layer=Quick).eval()
    report = load_weights(mine, tmp_path / 'both.safetensors')
    assert set(others) <= set(report.dropped)
    torch.testing.assert_close(mine(images()), theirs(images()).image_embeds, rtol=1e-5, atol=1e-4)


def test_a_pooler_is_reported(tmp_path):
    report = load_weights(_vit('vit_base_patch16_224'), files(tiny('hf vit'), tmp_path)['model'])
    assert report.dropped == ['pooler.dense.bias', 'pooler.dense.weight']
    assert report.as_built == ['head.weight', 'head.bias']


@pytest.mark.parametrize(
    'name', ['vit.encoder.layer.0.attention.attention.query.scale', 'vit.encoder.layer.0.gate', 'vit.novel.weight']
)
def test_what_has_no_place_is_an_error(name, tmp_path):
    tensors = load_file(files(tiny('hf vit, classifier'), tmp_path)['model'])
    save_file({**tensors, name: torch.ones(3)}, tmp_path / 'more.safetensors')
    with pytest.raises(ValueError, match=r'more\.safetensors.*(no part that is known|no place for)'):
        load_weights(_vit('vit_base_patch16_224'), tmp_path / 'more.safetensors')


def test_biases_for_a_network_without_are_an_error(tmp_path):
    path = files(tiny('hf vit, classifier'), tmp_path)['model']
    with pytest.raises(ValueError, match=r'no place for blocks\.0\.attn\.qkv\.bias'):
        load_weights(_vit('vit_base_patch16_224', qkv_bias=False), path)


def test_another_image_size_is_interpolated(tmp_path):
    report = load_weights(_vit('vit_base_patch16_224', img_size=48), files(tiny('hf vit'), tmp_path)['model'])
    assert report.resized['pos_embed'] == ((1, 17, WIDTH), (1, 37, WIDTH))
