"""Which images a run was trained on and validated with, written into its folder."""

from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from vptx.registry import HOOKS

__all__ = ['SubsetRecordHook']


@HOOKS.register_module()
class SubsetRecordHook(Hook):
    """Writes ``subset_train.json`` and ``subset_val.json`` into the work dir, where these data sets have a ``subset``.

    Each is a record as ``Subset`` writes and reads: another run with
    ``subset=dict(shots=16, record='work_dirs/.../subset_train.json')`` has the same images.
    """

    def before_train(self, runner: Runner) -> None:
        self._record(runner, 'train', runner.train_dataloader.dataset)
        if runner.val_loop is not None:
            self._record(runner, 'val', runner.val_dataloader.dataset)

    @staticmethod
    def _record(runner: Runner, split: str, dataset: Any) -> None:
        from vptx.datasets.subset import Subset  # not on `import vptx`: with all data sets it takes seconds

        while hasattr(dataset, 'dataset'):  # a wrapper, such as RepeatDataset
            dataset = dataset.dataset
        subset = getattr(dataset, 'subset', None)
        if isinstance(subset, Subset) and is_main_process():
            subset.write(Path(runner.work_dir, f'subset_{split}.json'))
