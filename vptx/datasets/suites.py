"""Every task of every suite, and how a config is pointed at one."""

from mmengine.config import Config

from vptx.datasets.benchmarks import BENCHMARKS, Task
from vptx.datasets.coop import COOP, NamedTask, number_of_base
from vptx.datasets.mini.mini_vtab import MINI_VTAB, MiniTask

__all__ = ['TASKS', 'set_task']

#: By name, suite by suite, in the order of the papers' tables.
TASKS: dict[str, Task | NamedTask | MiniTask] = {**BENCHMARKS, **COOP, **MINI_VTAB}


def set_task(config: Config, task: str) -> None:
    """Point a config's data at another task of its suite, and give its head the number of classes, in place.

    A head without ``num_classes``, such as one above a text head, is left alone.

    Raises:
        ValueError: an unknown task, one of another suite, or a config whose data are no such task.
    """
    if task not in TASKS:
        raise ValueError(f"there is no task '{task}'. There are: {', '.join(TASKS)}")
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataset = config[name].dataset
        if dataset.type not in ('BenchmarkTask', 'CoOpTask', 'MiniVTAB'):
            raise ValueError(f'{name} of this config shows {dataset.type}, which has no tasks to choose from')
        if TASKS[dataset.task].suite != TASKS[task].suite:
            raise ValueError(
                f"'{task}' is a task of {TASKS[task].suite}, this config is for {TASKS[dataset.task].suite}"
            )
        dataset.task = task
    if 'num_classes' in config.model.head:
        part = config.train_dataloader.dataset.get('part')
        classes = TASKS[task].classes
        config.model.head.num_classes = number_of_base(classes) if part == 'base' else classes
