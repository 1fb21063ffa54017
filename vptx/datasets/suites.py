"""Every task of every suite, and how a config is pointed at one."""

from mmengine.config import Config

from vptx.datasets.benchmarks import BENCHMARKS, Task
from vptx.datasets.mini.mini_vtab import MINI_VTAB, MiniTask

__all__ = ['TASKS', 'set_task']

#: By name, suite by suite, in the order of the papers' tables.
TASKS: dict[str, Task | MiniTask] = {**BENCHMARKS, **MINI_VTAB}


def set_task(config: Config, task: str) -> None:
    """Point a config's data at another task of its suite, and give its head the number of classes, in place.

    Raises:
        ValueError: an unknown task, one of another suite, or a config whose data are no such task.
    """
    if task not in TASKS:
        raise ValueError(f"there is no task '{task}'. There are: {', '.join(TASKS)}")
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataset = config[name].dataset
        if dataset.type not in ('BenchmarkTask', 'MiniVTAB'):
            raise ValueError(f'{name} of this config shows {dataset.type}, which has no tasks to choose from')
        if TASKS[dataset.task].suite != TASKS[task].suite:
            raise ValueError(
                f"'{task}' is a task of {TASKS[task].suite}, this config is for {TASKS[dataset.task].suite}"
            )
        dataset.task = task
    config.model.head.num_classes = TASKS[task].classes
