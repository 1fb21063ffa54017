"""What trains of a ViT-B/16 with the published settings, by the shapes in the authors' codes."""

import pytest
import timm
import torch

import vptx

BPT = dict(project_per='layer', project_bias=False)
CASES = [
    ('AdapterPlus', {}, 165_984),
    ('AdapterPlus', dict(rank=1), 36_876),
    ('AdapterPlus', dict(rank=16), 313_536),
    ('PrefixPrompter', dict(num_tokens=5), 5 * 18_432),
    ('PrefixPrompter', dict(num_tokens=5, shared=True), 5 * 9_216),
    ('GatedPrompter', {}, 76_823),
    ('GatedPrompter', dict(temperature=False), 76_811),
    ('FourierPrompter', dict(num_tokens=10), 92_160),
    ('ShallowPrompter', dict(num_tokens=100, project_dim=75, **BPT), 65_100),
    ('DeepPrompter', dict(num_tokens=50, project_dim=50, **BPT), 490_800),
    ('DeepPrompter', dict(num_tokens=10, segments=16), 12 * 10 * 768 + 10 + 160),
    ('RepAdapter', {}, 239_808),
    ('FacT', {}, 30_976),
    ('FacT', dict(rank=32), 86_528),
    ('FacT', dict(tucker=False), 61_440),
    ('Rein', {}, 1_347_841),
    ('Mona', {}, 2_684_928),
    ('Convpass', {}, 327_552),
    ('CrossPrompter', dict(num_tokens=20), 20 * 9_216),
    ('AdaptivePrompter', {}, 55_608),
    ('AdaptivePrompter', dict(num_tokens=5, hidden=4), 5 * 2_638 + 16_940 + 4 * 1_536),
    ('L2P', {}, 46_080),
    ('DualPrompt', {}, 253_440),
    ('CODAPrompt', {}, 3_840_000),
    ('ExplicitPrompter', {}, 888_192),
    ('ExplicitPrompter', dict(reduction=32), 63_312),
]


@pytest.fixture(scope='module')
def network():
    with torch.device('meta'):
        return timm.create_model('vit_base_patch16_224', num_classes=0)


@pytest.mark.parametrize(('kind', 'options', 'number'), CASES, ids=lambda part: str(part) if part else '')
def test_trained_numbers(network, kind, options, number):
    with torch.device('meta'):
        model = vptx.attach(network, dict(type=kind, **options))
    assert sum(parameter.numel() for parameter in model.prompter.parameters()) == number
    vptx.detach(model)
