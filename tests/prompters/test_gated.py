"""Gated prompts: between shallow and deep ones, and a temperature that is another weight."""

import pytest
import torch
from exact import exact, frozen, pictures, same
from networks import WIDTH

import vptx


def gated(gate: float, network: str = 'plain', readout: str | None = None) -> torch.nn.Module:
    torch.manual_seed(1)
    prompter = dict(type='GatedPrompter', num_tokens=3, temperature=False)
    model = vptx.attach(frozen(network), prompter, readout=readout).eval()
    with torch.no_grad():
        model.prompter.gates.fill_(gate)
    return model


@pytest.mark.parametrize('network', ['plain', 'EVA-02'])
@pytest.mark.parametrize(
    ('gate', 'other'),
    [(-1e4, dict(type='DeepPrompter', num_tokens=3, shared=True)), (1e4, dict(type='ShallowPrompter', num_tokens=3))],
)
@pytest.mark.parametrize('readout', ['cls', 'prompts'])
def test_at_its_limits_it_is_deep_and_shared_or_shallow(network, gate, other, readout):
    model = gated(gate, network, readout)
    theirs = vptx.attach(frozen(network), other, readout=readout).eval()
    with torch.no_grad():
        theirs.prompter.embedding.rows[0].copy_(model.prompter.embedding.rows[0])
    assert same(model(pictures()), theirs(pictures()))


def test_a_temperature_divides_queries():
    model = exact('GatedPrompter', std=0.3)
    theirs = gated(0.0)
    theirs.prompter.load_state_dict(model.prompter.state_dict(), strict=False)
    for block, temperature in zip(theirs.net.model.blocks, model.prompter.temperatures.detach(), strict=True):
        with torch.no_grad():
            block.attn.qkv.weight[:WIDTH] /= temperature
            block.attn.qkv.bias[:WIDTH] /= temperature
    assert same(model(pictures()), theirs(pictures()))


def test_in_the_middle_a_gate_mixes():
    model, tokens = gated(0.0), torch.randn(2, 1 + 3 + 16, WIDTH, dtype=torch.float64)
    from vptx.geometry import At

    entered = torch.randn_like(tokens)
    found = model.prompter.after_layer(tokens, At(0, (4, 4), entered))
    assert torch.equal(found[:, :1], tokens[:, :1]) and torch.equal(found[:, 4:], tokens[:, 4:])
    assert same(found[:, 1:4], (tokens[:, 1:4] + entered[:, 1:4]) / 2)


def test_a_gate_that_is_no_number_and_gates_of_another_network(tmp_path):
    with pytest.raises(ValueError, match='gate must be a number, not inf'):
        exact('GatedPrompter', gate=float('inf'))
    model = gated(0.0)
    with pytest.raises(RuntimeError, match='size mismatch for gates'):
        model.prompter.load_state_dict({**model.prompter.state_dict(), 'gates': torch.zeros(5)})
    vptx.save_prompt(model, tmp_path / 'gates.safetensors')
    with pytest.raises(ValueError, match=r'gates\.safetensors does not fit this model: it lacks .*temperatures'):
        vptx.load_prompt(exact('GatedPrompter'), tmp_path / 'gates.safetensors')
