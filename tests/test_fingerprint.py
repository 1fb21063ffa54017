"""A network with other weights is told from the same one in another precision or for another image size."""

from copy import deepcopy
from functools import partial

import pytest
import timm
import torch
from networks import GRID, PATCH, WIDTH, tiny
from timm.layers import resample_abs_pos_embed
from torch import nn

import vptx
from vptx.fingerprint import fingerprints, other_weights
from vptx.prompt_file import describe, read_prompt

DEEP = dict(type='DeepPrompter', num_tokens=3)
HALF = [torch.bfloat16, torch.float16]
WIDE = [torch.float32, torch.float64]


def prompted(network: nn.Module | None = None, tune=('head',)) -> nn.Module:
    return vptx.attach(network or tiny(), DEEP, tune=tune)


def nudged(network: nn.Module, size: float) -> nn.Module:
    with torch.no_grad():
        network.blocks[1].mlp.fc1.weight[3, 5] *= 1 + size
    return network


@pytest.mark.parametrize(
    ('saved', 'loaded'),
    [*((a, b) for a in WIDE for b in WIDE + HALF), *((a, b) for a in HALF for b in WIDE), *zip(HALF, HALF)],
    ids=str,
)
def test_a_file_goes_into_the_same_network_in_another_precision(saved, loaded, tmp_path):
    theirs, ours = prompted(tiny().to(saved)), prompted(tiny().to(loaded))
    nn.init.constant_(theirs.prompter.embedding.rows[1], 3)
    vptx.save_prompt(theirs, tmp_path / 'a.safetensors')
    vptx.load_prompt(ours, tmp_path / 'a.safetensors')
    row = ours.prompter.embedding.rows[1]
    assert row.dtype == loaded and (row == 3).all()


@pytest.mark.parametrize(
    ('saved', 'loaded', 'seen'),
    [
        (torch.float32, torch.float32, 1e-6),
        (torch.float32, torch.bfloat16, 1e-2),
        (torch.bfloat16, torch.float32, 1e-2),
        (torch.float32, torch.float16, 2e-3),
        (torch.bfloat16, torch.bfloat16, 1e-2),
    ],
    ids=str,
)
def test_one_other_number_is_seen_where_it_is_not_rounded_away(saved, loaded, seen):
    facts = describe(prompted(tiny().to(saved)))
    assert not other_weights(prompted(tiny().to(loaded)), facts)
    assert 'its backbone in ' in other_weights(prompted(nudged(tiny(), seen).to(loaded)), facts)
    assert not other_weights(prompted(nudged(tiny(), 1e-9).to(loaded)), facts)


def test_two_half_precisions_cannot_be_compared(tmp_path):
    vptx.save_prompt(prompted(tiny().half()), tmp_path / 'a.safetensors')
    with pytest.raises(ValueError, match='its backbone was in float16 and is in bfloat16 here, which round in ways'):
        vptx.load_prompt(prompted(tiny().bfloat16()), tmp_path / 'a.safetensors')


def test_norms_in_single_precision_among_half_precision():
    facts, mixed = describe(prompted()), tiny().bfloat16()
    mixed.norm.float().load_state_dict(tiny().norm.state_dict())
    assert not other_weights(prompted(mixed), facts)


def test_numbers_beyond_half_precision_are_refused(tmp_path):
    model = prompted()
    nn.init.constant_(model.prompter.embedding.rows[0], 1e5)
    vptx.save_prompt(model, tmp_path / 'a.safetensors')
    with pytest.raises(ValueError, match=r'values of prompter\.embedding\.rows\.0 that are NaN, .* beyond float16'):
        vptx.load_prompt(prompted(tiny().half()), tmp_path / 'a.safetensors')


_larger = partial(
    timm.create_model, 'vit_base_patch16_224', patch_size=PATCH, embed_dim=WIDTH, depth=3, num_heads=4, num_classes=7
)


def larger(side: int = 6 * PATCH) -> nn.Module:
    """The same network for larger images, its positions resized from the same weights."""
    made, state = _larger(img_size=side), tiny().state_dict()
    grid = [side // PATCH] * 2
    state['pos_embed'] = resample_abs_pos_embed(state['pos_embed'], grid, [GRID, GRID])
    made.load_state_dict(state)
    return made.eval()


def test_a_file_goes_into_the_same_network_for_another_image_size(tmp_path):
    vptx.save_prompt(prompted(), tmp_path / 'a.safetensors')
    vptx.load_prompt(prompted(larger()), tmp_path / 'a.safetensors')
    with pytest.raises(ValueError, match=r'other frozen weights of .* of its backbone in float32'):
        vptx.load_prompt(prompted(nudged(larger(), 1e-4)), tmp_path / 'a.safetensors')


def test_other_positions_for_the_same_image_size_are_refused():
    facts, other = describe(prompted()), tiny()
    nn.init.constant_(other.pos_embed, 0.5)
    assert 'its positions in float32' in other_weights(prompted(other), facts)


def test_other_positions_of_a_swin_are_positions():
    parts = fingerprints(vptx.attach(tiny('swin'), DEEP))
    other = tiny('swin')
    nn.init.constant_(other.layers[0].blocks[0].attn.relative_position_bias_table, 0.5)
    found = fingerprints(vptx.attach(other, DEEP))
    assert [part for part in parts if parts[part] != found[part]] == ['positions']


def test_a_frozen_classifier_counts_where_both_have_one():
    facts, other = describe(prompted(tune=())), tiny()
    assert not other_weights(prompted(tune=()), facts)
    nn.init.zeros_(other.head.weight)
    model = prompted(other, tune=())
    assert 'its classifier in float32' in other_weights(model, facts)
    assert not other_weights(model, facts, head=False)


def test_the_network_by_a_second_name_is_not_outside_it():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = tiny()
            self.same = self.backbone

    model = vptx.attach(Twice(), DEEP)
    before = fingerprints(model)
    nn.init.constant_(model.backbone.prompter.embedding.rows[0], 3)
    assert fingerprints(model) == before and before.keys() == {'backbone', 'positions', 'classifier'}


def test_a_file_of_no_fingerprint_of_the_backbone_is_refused(tmp_path):
    model = prompted()
    vptx.save_prompt(model, tmp_path / 'a.safetensors')
    facts = deepcopy(read_prompt(tmp_path / 'a.safetensors')[1])
    assert other_weights(model, dict(facts, fingerprint={})) == 'the model alone has a frozen backbone'
