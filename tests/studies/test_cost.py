"""The cost model: worked out by another way, and against runs that are timed."""

import time
from dataclasses import replace

import pytest
from runs import loader, runner

from vptx.studies.cost import VTAB, Grid, Machine, Sizes, asha_share, hours, markdown, run_seconds, step_seconds

MACHINE = Machine(train=100, infer=400, read=200, start=10)
SIZES = Sizes(train=800, val=200, test=1000)
GRID = Grid(points=6, seeds=2, epochs=10, looks=5)


def test_a_step_waits_for_the_slower_of_network_and_images():
    assert step_seconds(MACHINE, 50) == 0.5
    assert step_seconds(replace(MACHINE, read=25), 50) == 2.0
    # 1.8 MB of 460,800 prompts' gradients among four on a line of 1 GB/s: each sends and takes 3/4 of it twice.
    line = replace(MACHINE, exchange=1e9, latency=1e-4)
    assert step_seconds(line, 50, 4, 460_800) == pytest.approx(0.5 + 1e-4 + 1.5 * 1.8432e6 / 1e9)


def test_a_run_and_a_study():
    selected = 10 + 8000 / 100 + 5 * 200 / 200
    final = 10 + 10_000 / 100 + 1000 / 200
    assert run_seconds(MACHINE, SIZES, GRID) == selected
    assert run_seconds(MACHINE, SIZES, GRID, final=True) == final
    assert hours(MACHINE, [SIZES], GRID, 1) == pytest.approx((6 * selected + 2 * final) / 3600)
    # Four GPUs: six runs are two rounds, then two finals side by side.
    assert hours(MACHINE, [SIZES], GRID, 4) == pytest.approx((2 * selected + final) / 3600)
    cached = hours(MACHINE, [SIZES], replace(GRID, cached=True), 1)
    assert cached == pytest.approx((8 * 10 + 2000 / 200) / 3600)


def test_a_scheduler_leaves_a_share():
    assert asha_share(100, 10) == pytest.approx((10 + 30 / 4 + 60 / 16) / 100)
    assert asha_share(10, 10) == 1.0
    assert asha_share(100, 10, 3) == pytest.approx((10 + 20 / 3 + 60 / 9 + 10 / 27) / 100)


def test_the_grid_of_the_paper():
    assert len(VTAB) == 19 and {(each.train, each.val) for each in VTAB} == {(800, 200)}
    machine, grid = Machine(700, 2200, start=15), Grid(240, 5, 100, 10)
    one, many = (hours(machine, VTAB, grid, number) for number in (1, 64))
    trained = 19 * (240 * 80_000 + 5 * 100_000) / 700
    judged = 19 * 240 * 2000 / 2200 + 5 * sum(each.test for each in VTAB) / 2200
    assert one == pytest.approx((trained + judged + 19 * 245 * 15) / 3600)
    assert one / 64 < many < 1.05 * one / 64
    table = markdown(machine, VTAB, grid, [1, 64]).splitlines()
    assert table[0] == '| hours | 1 GPU | 64 GPUs |' and len(table) == 6
    assert table[2] == f'| prompts, all runs to their end | {one:,.1f} | {many:,.1f} |'


def test_the_command(tmp_path, start):
    status, said = start('cost', '--train', '700', '--infer', '2200', '--gpus', '1', log=tmp_path / 'log')
    assert status == 0 and '| prompts, all runs to their end | 169.4 |' in said
    status, said = start('cost', '--train', '0', '--infer', '2200', log=tmp_path / 'log')
    assert status == 1 and 'must be more than 0' in said


@pytest.mark.slow
def test_a_run_takes_what_the_model_says(tmp_path):
    """Processor time, so that others on the machine do not count: speed and start from two runs, a third to check."""

    def seconds(epochs: int) -> float:
        changes = {'train_cfg.max_epochs': epochs, 'train_dataloader': loader(True, number=96)}
        changes |= dict(val_cfg=None, val_dataloader=None, val_evaluator=None)
        began = time.process_time()
        runner(tmp_path / f'{epochs}', **changes).train()
        return time.process_time() - began

    seconds(1)  # imports
    short, long = seconds(4), seconds(24)
    speed = 20 * 96 / (long - short)
    machine = Machine(train=speed, infer=speed, start=short - 4 * 96 / speed)
    expected = run_seconds(machine, Sizes(96, 0, 0), Grid(1, 0, 14, looks=0))
    measured = seconds(14)
    print(f'{measured:.2f} s measured, {expected:.2f} s by the model')
    assert measured == pytest.approx(expected, rel=0.25)
