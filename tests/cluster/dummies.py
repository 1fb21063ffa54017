"""Runs that learn nothing and end at once, or after a second; Ray's processes import this module."""

import time
from pathlib import Path

from mmengine.config import Config

from vptx.studies.trials import Run, Trial


class Dummy(Run):
    """Ends with a score; where its point says ``seconds``, after so many."""

    def do(self, watch=None) -> Trial:
        found = self.read()
        if found is not None:
            return found
        time.sleep(self.point.get('seconds', 0))
        (self.out / 'done').mkdir(parents=True, exist_ok=True)
        with (self.out / 'done' / self.name).open('a') as file:  # a line for each time that it was run to its end
            file.write('done\n')
        return self.write(Trial(self.point, 50.0, seconds=0.0))


class DummyStudy:
    """As much of a study as a sweep asks for."""

    def __init__(self, out: Path, number: int, seconds: float) -> None:
        config = Config(dict(train_cfg=dict(max_epochs=1), val_evaluator=dict(type='Accuracy')))
        points = [dict(index=index, seconds=seconds) for index in range(number)]
        self.name, self.config = 'dummy', config
        self.runs = [Dummy(out, f'run{point["index"]}', config, point, 'test') for point in points]

    def todo(self, failed=(), stopped=False) -> list[Run]:
        return [run for run in self.runs if run.name not in failed and run.read() is None]

    def outcomes(self) -> list:
        return []

    def trials(self) -> list:
        return []
