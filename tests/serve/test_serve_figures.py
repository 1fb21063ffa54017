"""What a bank costs: figures of every candidate, each a ratio of two times of the same round."""

import pytest
from networks import tiny

from vptx.serve import figures


def test_candidates_and_their_table(monkeypatch):
    taken = iter(range(1, 100))
    monkeypatch.setattr(figures, 'timed', lambda run, device, clock: (run(), float(next(taken)))[1])
    said = []
    found = figures.measure(tiny(), prompts=2, tasks=(1, 3), batch=4, rounds=2, say=said.append)
    names = ['frozen network', 'one task alone', 'bank, 1 task', 'bank, 3 tasks']
    assert list(found.times) == names and len(said) == 8
    assert found.times['bank, 3 tasks'] == [8.0, 12.0]  # the first round is not counted
    assert found.ratio('bank, 3 tasks', 'one task alone') == pytest.approx((11.33333 / 9, 1.2, 8 / 6), abs=0.01)
    lines = figures.markdown(found).splitlines()
    assert lines[-3].startswith('| bank, 3 tasks | 1.267 (1.200 to 1.333)')
    assert f', {2**30 // found.bytes} in a GB' in lines[-1]


def test_peft_is_compared_with_where_it_is_installed(monkeypatch):
    monkeypatch.setattr(figures, 'find_spec', lambda name: None)
    with pytest.raises(ImportError, match='pip install peft'):
        figures.measure(tiny(), prompts=2, tasks=(1,), batch=1, rounds=1, lora=2)
