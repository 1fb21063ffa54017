"""Hundreds of bad files at every door: nothing of them runs, none is taken in silence, each is named."""

import pytest
from bad_inputs import KINDS
from bad_inputs.battery import attempt, table

CASES = [case for kind in KINDS for case in kind.cases()]
FEW = {case for kind in KINDS for case in kind.sample()}


@pytest.mark.parametrize(
    'case', [pytest.param(case, id=str(case), marks=[] if case in FEW else pytest.mark.slow) for case in CASES]
)
def test_it_is_refused_by_name_or_does_no_harm(case):
    found = attempt(case)
    assert found.verdict == case.expected, found.told


@pytest.mark.slow
def test_figures():
    found = [attempt(case).verdict for case in CASES]
    assert len(found) >= 400 and not {'executed', 'silent'} & set(found), table(CASES)
    assert found.count('clear') >= 0.95 * len(found), table(CASES)
