"""Hundreds of bad files at every door: nothing of them runs, none is taken in silence, each is named."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import pytest
import torch
from bad_inputs import KINDS
from bad_inputs.battery import Bait, Case, Kind, attempt, table
from bad_inputs.spoils import PICKLES

CASES = [case for kind in KINDS for case in kind.cases()]
FEW = {case for kind in KINDS for case in kind.sample()}


def write(folder: Path) -> Path:
    torch.save({}, folder / 'file.pth')
    return folder / 'file.pth'


def refuse(kind: type[Exception], text: str) -> Callable[[Path, Path], None]:
    def door(path: Path, work: Path) -> None:
        if path.read_bytes() == b'bad':
            raise kind(text.format(path=path))

    return door


DOORS = {
    'executed': lambda path, _: torch.load(path, weights_only=False) and None,
    'harmless': lambda path, _: None,
    'silent': lambda path, _: path.read_bytes(),
    'obscure': refuse(KeyError, '{path}'),
    'obscure, for it names no file': refuse(ValueError, 'bad'),
    'obscure, for it is long': refuse(ValueError, '{path}' + 9 * '\n'),
    'clear': refuse(ValueError, '{path} is bad'),
}


def bad(path: Path, bait: Bait) -> None:
    path.write_bytes(b'bad')


@pytest.mark.parametrize('door', DOORS)
def test_the_battery_tells_what_a_door_does(door):
    """Without this, one that sees nothing would pass all below."""
    spoil = PICKLES['a pickle that runs code'] if door == 'executed' else bad
    kind = Kind('file', write, {'bad': spoil}, {door: DOORS[door]})
    assert attempt(Case(kind, 'bad', door, '')).verdict == door.partition(',')[0]


@pytest.mark.parametrize(
    ('name', 'reach', 'told'),
    [
        ('an address', lambda bait: urlopen(bait.url + '/weights'), 'asked for /weights'),
        ('a folder', lambda bait: (bait.treasure / 'epoch_7.pth').unlink(), 'files elsewhere were deleted'),
    ],
)
def test_the_battery_tells_what_was_reached(name, reach, told, tmp_path):
    bait = Bait(tmp_path)
    assert not bait.taken()
    with suppress(OSError):
        reach(bait)
    assert told in bait.taken()


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
