"""What happens when a bad file goes through a door."""

import atexit
import os
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from io import StringIO
from logging import WARNING, LogRecord
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from malice import listening
from mmengine.logging import MessageHub, MMLogger
from runs import differences

__all__ = ['Bait', 'Case', 'Kind', 'Outcome', 'attempt', 'scratch', 'table']

VERDICTS = ('executed', 'silent', 'obscure', 'clear', 'harmless')
LINES, SECONDS = 6, 20  # that an error may have, and that a door may take
CLEAR = (ValueError, OSError, FloatingPointError, MemoryError)
#: What an error says that nobody wrote for a reader, or that no reader should follow.
OBSCURE = (
    'has no attribute',
    'is not iterable',
    'not subscriptable',
    'weights_only',
    'unsupported operand',
    'positional argument',
    'unexpected keyword',
    'Traceback',
)


_open = ExitStack()  # for as long as the process lives
atexit.register(_open.close)


@cache
def scratch() -> Path:
    """A folder for what is made once."""
    return Path(_open.enter_context(tempfile.TemporaryDirectory(prefix='bad_inputs_')))


class Bait:
    """What no file may reach: a file that is not there, a folder that is, an address that listens."""

    url, asked = '', []

    def __init__(self, folder: Path) -> None:
        self.canary, self.treasure = folder / 'canary', folder / 'treasure'
        self.treasure.mkdir(parents=True)
        (self.treasure / 'epoch_7.pth').write_text('of somebody else')
        if not Bait.url:
            Bait.url, Bait.asked = _open.enter_context(listening())
        Bait.asked.clear()

    def taken(self) -> str:
        """What of it was reached; nothing, if all is well."""
        if self.canary.exists():
            return 'code in the file ran'
        if Bait.asked:
            return f'an address in the file was asked for {Bait.asked[0]}'
        return '' if (self.treasure / 'epoch_7.pth').is_file() else 'files elsewhere were deleted'


#: Spoils the file at a path in place; may give the path that an error has to name, if another.
Spoil = Callable[[Path, Bait], Path | None]
#: Takes in the file at a path, works in a folder, and gives what came of it.
Door = Callable[[Path, Path], Any]


@dataclass(frozen=True, eq=False)
class Kind:
    """A kind of file.

    Attributes:
        name: of it.
        good: writes a good one into a folder, and gives its path.
        spoils: what may be wrong with it, by name.
        doors: where it comes in, by name.
        harmless: spoils, or (spoil, door), that do no harm: what comes of the file is what comes of a good one, or a
            warning names it.
        only: spoil -> the doors that have to do with it, where not all of them.
    """

    name: str
    good: Callable[[Path], Path]
    spoils: Mapping[str, Spoil]
    doors: Mapping[str, Door]
    harmless: Collection[str | tuple[str, str]] = ()
    only: Mapping[str, Collection[str]] = field(default_factory=dict)

    def cases(self) -> Iterator['Case']:
        """Every spoil at every door."""
        for door in self.doors:
            for spoil in self.spoils:
                if door in self.only.get(spoil, self.doors):
                    harmless = spoil in self.harmless or (spoil, door) in self.harmless
                    yield Case(self, spoil, door, 'harmless' if harmless else 'clear')

    def sample(self) -> Iterator['Case']:
        """Two of them for each door, others at each."""
        for number, door in enumerate(self.doors):
            here = [case for case in self.cases() if case.door == door]
            yield from (here[place % len(here)] for place in (5 * number, 5 * number + len(here) // 2))


class Case(NamedTuple):
    kind: Kind
    spoil: str
    door: str
    expected: str

    def __str__(self) -> str:
        return f'{self.kind.name}, {self.spoil}, {self.door}'


class Outcome(NamedTuple):
    """``'executed'``, ``'silent'``, ``'obscure'``, ``'clear'`` or ``'harmless'``; and what was said, or done."""

    verdict: str
    told: str


class _HangsError(BaseException):
    """Not an Exception: nothing takes it for a bad file."""


@cache
def attempt(case: Case) -> Outcome:
    """Make a good file, spoil it, take it to the door, and see."""
    kind, expected = case.kind, _expected(case.kind, case.door)
    with _folder() as folder:
        bait = Bait(folder / 'bait')
        path = kind.good(folder / 'in')
        named = kind.spoils[case.spoil](path, bait) or path
        result, error, said = _through(kind.doors[case.door], path, folder / 'work')
        if taken := bait.taken():
            return Outcome('executed', f'{taken}; {error!r}')
        if isinstance(error, _HangsError):
            return Outcome('obscure', f'it does not end within {SECONDS} s')
        if error is not None:
            return _judge(error, named)
        warned = [line for line in said if named.name in line]
        changed = differences(result, expected)
        if warned or not changed:
            return Outcome('harmless', warned[0] if warned else 'as with a good one')
        return Outcome('silent', f'taken for another: {changed[0]:.90}')


def _judge(error: BaseException, named: Path) -> Outcome:
    text = str(error)
    faults = []
    if not isinstance(error, CLEAR):
        faults.append('of a kind that says nothing')
    if named.name not in text:
        faults.append(f'without the name {named.name}')
    if text.count('\n') >= LINES:
        faults.append(f'of {text.count(chr(10)) + 1} lines')
    faults += [f'with "{words}"' for words in OBSCURE if words in text]
    where = traceback.extract_tb(error.__traceback__)[-1]
    told = f'{type(error).__name__}: {text}'
    if faults:
        return Outcome('obscure', f'{", ".join(faults)}: {told[:400]} ({Path(where.filename).name}:{where.lineno})')
    return Outcome('clear', told)


@cache
def _expected(kind: Kind, door: str) -> Any:
    """What comes of a good file."""
    with _folder() as folder:
        result, error, _ = _through(kind.doors[door], kind.good(folder / 'in'), folder / 'work')
    if error is not None:
        raise RuntimeError(f'{kind.name}, {door}: a good file is refused') from error
    return result


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix='case_', dir=scratch()) as folder:
        (Path(folder) / 'in').mkdir()
        yield Path(folder)


def _through(door: Door, path: Path, work: Path) -> tuple[Any, BaseException | None, list[str]]:
    """What a door gives, or its error, and its warnings."""
    said: list[str] = []

    def listen(_: MMLogger, record: LogRecord) -> None:
        if record.levelno >= WARNING:
            said.append(record.getMessage())

    def hangs(*_: Any) -> None:
        raise _HangsError

    before, here, paths = signal.signal(signal.SIGALRM, hangs), os.getcwd(), list(sys.path)
    signal.alarm(SECONDS)
    try:
        with (
            redirect_stdout(StringIO()),
            patch.object(MMLogger, 'callHandlers', listen),
            warnings.catch_warnings(record=True) as warned,
        ):
            warnings.simplefilter('always')
            return door(path, work), None, said
    except (Exception, SystemExit, _HangsError) as error:
        return None, error, said
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        said += [str(warning.message) for warning in warned]
        os.chdir(here)
        sys.path[:] = paths
        _forget()


def _forget() -> None:
    """Close the logs of a run; MMEngine keeps them, and its hubs, for as long as the process lives."""
    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            handler.close()
    MMLogger._instance_dict.clear()
    MessageHub._instance_dict.clear()


def table(cases: Iterable[Case]) -> str:
    """Kind and door by verdict, as Markdown."""
    found: dict[str, Counter] = {}
    for case in cases:
        found.setdefault(f'{case.kind.name}, {case.door}', Counter())[attempt(case).verdict] += 1
    found['sum'] = sum(found.values(), Counter())
    lines = ['| kind of file, door | tried | ' + ' | '.join(VERDICTS) + ' |', '|---' + '|---:' * 6 + '|']
    lines += [
        f'| {name} | {sum(counts.values())} | ' + ' | '.join(str(counts[verdict]) for verdict in VERDICTS) + ' |'
        for name, counts in found.items()
    ]
    return '\n'.join(lines)
