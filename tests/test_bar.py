"""The bar of commands that make many files, and what a study says, in a pseudo-terminal."""

import os
import sys
from collections.abc import Callable
from threading import Thread
from types import SimpleNamespace

import pytest

from vptx.studies.progress import Progress, reporter
from vptx_cli.bar import bar


def seen(do: Callable[[], None], monkeypatch, out: bool = True, err: bool = True) -> tuple[str, str]:
    """What a terminal shows while ``do`` runs, and what goes to files, where stdout or stderr is no terminal."""
    screen, end = os.openpty()
    shown: list[bytes] = []

    def read() -> None:
        while True:
            try:
                shown.append(os.read(screen, 4096))
            except OSError:  # its other end is closed
                return

    reader = Thread(target=read)
    reader.start()
    piped, into = os.pipe()
    with os.fdopen(end, 'w') as terminal, os.fdopen(into, 'w') as file:
        monkeypatch.setenv('TERM', 'xterm')
        monkeypatch.setattr(sys, 'stdout', terminal if out else file)
        monkeypatch.setattr(sys, 'stderr', terminal if err else file)
        do()
        monkeypatch.undo()
    reader.join()
    os.close(screen)
    with os.fdopen(piped) as file:
        return b''.join(shown).decode(), file.read()


def work(quiet: bool = False) -> None:
    for number in bar(range(3), 3, 'images', quiet):
        print(f'file {number}')


def test_a_bar_is_under_what_is_printed(monkeypatch):
    shown, _ = seen(work, monkeypatch)
    assert 'images' in shown and '3/3' in shown and all(f'file {number}' in shown for number in range(3))


def test_what_goes_into_a_file_has_no_bar(monkeypatch):
    shown, file = seen(work, monkeypatch, out=False)
    assert file == 'file 0\nfile 1\nfile 2\n' and '3/3' in shown
    shown, file = seen(work, monkeypatch, out=False, err=False)
    assert file == 'file 0\nfile 1\nfile 2\n' and shown == ''


@pytest.mark.parametrize('do', [lambda: work(quiet=True), lambda: [*bar([1], 1, 'images')]])
def test_no_bar_if_quiet_or_of_one_file(monkeypatch, do):
    assert 'images' not in seen(do, monkeypatch)[0]


@pytest.mark.parametrize('quiet', [False, True])
def test_a_study_says_how_far_it_is(monkeypatch, quiet):
    done = SimpleNamespace(score=91.0)
    runs = SimpleNamespace(final=SimpleNamespace(seeds=[0, 1]))
    study = SimpleNamespace(
        trials=lambda: [1, 2], selection=lambda: [1, 2, 3], config=runs, best=lambda: done, name='deep/Letters'
    )
    say = reporter(Progress([study]), quiet)
    shown, _ = seen(lambda: say('deep/Letters lr=1: 91.0 % on val'), monkeypatch)
    assert ('2 of 5 runs, ' in shown and ' left, best on validation 91.0 % (deep/Letters)' in shown) is not quiet
