"""The speed of exported files, next to the model's: who takes part, and what is left of it."""

import pytest
from networks import tiny

import vptx
from vptx.attach import find_prompted_network
from vptx.benchmark.deployed import latencies, latency_table
from vptx.export import export_model


@pytest.mark.parametrize(
    ('prompter', 'own'), [('DeepPrompter', ['folded', 'compiled']), ('ShallowPrompter', ['compiled'])]
)
def test_everyone_has_a_turn_in_each_round(tmp_path, prompter, own):
    model = vptx.attach(tiny(), dict(type=prompter, num_tokens=3)).train()
    export_model(model, tmp_path / 'model.pt2')
    found = latencies(model, [tmp_path / 'model.pt2'], rounds=2, clock='cpu', compiler='eager')
    assert list(found) == ['eager', *own, 'model.pt2'] and all(len(seconds) == 2 for seconds in found.values())
    assert model.training and not find_prompted_network(model).folded
    assert 'compiled' not in latencies(model, [], rounds=1, compiler=None)


def test_ratios_are_of_the_same_round():
    table = latency_table({'eager': [1.0, 2.0, 4.0], 'm.onnx': [0.5, 1.5, 1.0]})
    assert table.splitlines()[-2:] == [
        '| eager | 2000.0 | 1.00 | 1.00 to 1.00 |',
        '| m.onnx | 1000.0 | 0.50 | 0.25 to 0.75 |',
    ]
