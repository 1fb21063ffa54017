"""How far many runs have come: done, left, time left, the best so far."""

import sys
import time
from collections.abc import Callable, Sequence

from vptx.studies.protocol import Study

__all__ = ['Progress', 'reporter']


class Progress:
    """Counts runs as they end.

    Args:
        found: all studies. A grid of learning rates that grows adds runs.
    """

    def __init__(self, found: Sequence[Study]) -> None:
        self.found = found
        self.started, self.ended = time.monotonic(), 0

    def line(self) -> str:
        """After a run has ended: ``12 of 40 runs, 6 min left, best on validation 74.0 % (deep/mini_count)``."""
        self.ended += 1
        done = sum(len(study.trials()) for study in self.found)
        total = sum(len(study.selection()) + len(study.config.final.seeds) for study in self.found)
        # Only runs of this time say how long one takes.
        seconds = (time.monotonic() - self.started) / self.ended * max(0, total - done)
        parts = [f'{done} of {total} runs', f'{_duration(seconds)} left']
        chosen = [(best.score, study.name) for study in self.found if (best := study.best()) and best.score is not None]
        if chosen:
            score, name = max(chosen)
            parts.append(f'best on validation {score:.1f} % ({name})')
        return ', '.join(parts)


def reporter(progress: Progress, quiet: bool = False) -> Callable[[str], None]:
    """What prints a line for each run that has ended; in a terminal with the progress under it.

    Args:
        progress: of all runs.
        quiet: whether only failures are printed.
    """

    def say(line: str) -> None:
        failed = ' FAILED: ' in line
        if not quiet or failed:
            print(line, flush=True)
        if not quiet and sys.stdout.isatty():
            print(f'  {progress.line()}', flush=True)

    return say


def _duration(seconds: float) -> str:
    """``40 s``, ``6 min``, ``2 h 5 min``"""
    if seconds < 90:
        return f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    return f'{minutes} min' if minutes < 90 else f'{minutes // 60} h {minutes % 60} min'
