"""The test split after every epoch: what picking the best of them gives, next to the last one."""

import time

from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from vptx.features.deterministic import restored_generators
from vptx.registry import HOOKS

__all__ = ['TestCurveHook']

FIGURES, SPENT = 'test_curve', 'test_curve_seconds'


@HOOKS.register_module()
class TestCurveHook(Hook):
    """Keeps what the evaluators of the test split give after epochs, but for the last, which the run is judged by.

    Nothing is chosen by these figures, and they change none: the random generators are put back. They are in the
    message hub, so that a run that is resumed has those from before.

    Args:
        begin: the first epoch after which it tests.

    Raises:
        ValueError: ``begin`` is no epoch, or training is counted in iterations.
    """

    __test__ = False  # pytest collects what begins with Test

    def __init__(self, begin: int = 1) -> None:
        if begin < 1:
            raise ValueError(f'TestCurveHook: begin is the number of an epoch, 1 or more, not {begin}')
        self.begin = begin

    def before_train(self, runner: Runner) -> None:
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            raise ValueError('TestCurveHook tests after epochs, and this config counts iterations: leave it out')

    def after_train_epoch(self, runner: Runner) -> None:
        if not self.begin <= runner.epoch + 1 < runner.max_epochs:
            return
        started = time.process_time()
        with restored_generators():
            found = runner.test_loop.run()
        runner.message_hub.update_info(FIGURES, [*self.figures(runner), found])
        runner.message_hub.update_info(SPENT, self.seconds(runner) + time.process_time() - started)

    @staticmethod
    def figures(runner: Runner) -> list[dict[str, float]]:
        """Of a run, those of the epochs so far."""
        return runner.message_hub.get_info(FIGURES, [])

    @staticmethod
    def seconds(runner: Runner) -> float:
        """Of processor time that these tests took."""
        return runner.message_hub.get_info(SPENT, 0.0)
