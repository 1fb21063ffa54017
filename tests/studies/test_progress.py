"""What is said while many runs are done."""

import io

import pytest
from runs import hook, net, write_config, write_weights

from vptx.studies import progress
from vptx.studies.progress import Progress, reporter
from vptx.studies.protocol import RATE, experiment, studies
from vptx.studies.trials import Run, Trial


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def found(tmp_path, monkeypatch):
    def do(run):
        if run.point[RATE] > 0.02 and run.seen == 'val':
            raise RuntimeError('out of luck')
        return run.write(Trial(run.point, 70.0 + run.point[RATE]))

    monkeypatch.setattr(Run, 'do', do)
    weights = {'model.backbone.net': net(weights=str(write_weights(tmp_path / 'weights.pth')))}
    config = write_config(tmp_path / 'deep.py', tmp_path / 'deep', hooks=[hook()], **weights)
    return studies([str(config)], tmp_path / 'out', factors=[0.3, 1, 3], seeds=[0, 1])


@pytest.mark.parametrize(('out', 'quiet'), [(Terminal, False), (io.StringIO, False), (Terminal, True)])
def test_runs_done_and_left_in_a_terminal_alone(found, tmp_path, monkeypatch, out, quiet):
    screen = out()
    monkeypatch.setattr(progress.sys, 'stdout', screen)
    experiment(found, tmp_path / 'out', say=reporter(Progress(found), quiet))
    said = screen.getvalue()
    assert 'FAILED: ' in said  # in any case
    assert ('lr=0.01: 70.0 % on val' in said) is not quiet
    shown = not quiet and out is Terminal
    assert ('4 of 5 runs' in said) is shown
    assert ('best on validation 70.0 % (deep/TinyImages)' in said) is shown


@pytest.mark.parametrize(
    ('seconds', 'text'), [(0, '0 s'), (89, '89 s'), (90, '2 min'), (3600, '60 min'), (7500, '2 h 5 min')]
)
def test_times_left(seconds, text):
    assert progress._duration(seconds) == text
