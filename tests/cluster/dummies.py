"""Runs that learn nothing and end at once, or after a second; Ray's processes import this module.

As a script, a sweep of them: ``dummies.py ADDRESS OUT NUMBER SECONDS BYTES``, with as many bytes in the config of each.
Its last line is JSON.
"""

import json
import sys
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

    def __init__(self, out: Path, number: int, seconds: float, size: int) -> None:
        evaluator = dict(type='Accuracy')
        common = dict(train_cfg=dict(max_epochs=1), test_evaluator=evaluator, final=dict(seeds=[1]))
        self.name, self.config, self.runs = 'dummy', Config(common), []
        for index in range(number):
            config = Config(dict(common, filler=f'{index:09}' * (size // 9)))  # no two have the same one
            self.runs.append(Dummy(out, f'run{index}', config, dict(index=index, seconds=seconds), 'test'))

    def todo(self, failed=(), stopped=False) -> list[Run]:
        return [run for run in self.runs if run.name not in failed and run.read() is None]

    def outcomes(self) -> list:
        return []

    def trials(self) -> list:
        return []


def main(address: str, out: str, number: str, seconds: str, size: str) -> None:
    from dummies import DummyStudy  # by the name by which Ray's processes import it

    from vptx.studies.sweep import connect, sweep

    connect(address)
    study, said = DummyStudy(Path(out), int(number), float(seconds), int(size)), []
    used, began = time.process_time(), time.monotonic()
    _, failed = sweep([study], out, say=said.append)
    spent = dict(driver=time.process_time() - used, wall=time.monotonic() - began)
    print(json.dumps(dict(failed=failed, said=said, left=[run.name for run in study.todo()], **spent)))


if __name__ == '__main__':
    main(*sys.argv[1:])
