"""Every task of every suite, and how a config is pointed at one."""

from mmengine.config import Config

from vptx.datasets.benchmarks import BENCHMARKS, Task
from vptx.datasets.coop import COOP, NamedTask, number_of_base
from vptx.datasets.mini.mini_vtab import MINI_VTAB, MiniTask
from vptx.datasets.real_images import REAL_IMAGES, RealTask

__all__ = ['TASKS', 'set_task']

#: By name, suite by suite, in the order of the papers' tables.
TASKS: dict[str, Task | NamedTask | MiniTask | RealTask] = {**BENCHMARKS, **COOP, **MINI_VTAB, **REAL_IMAGES}


def set_task(config: Config, task: str) -> None:
    """Point a config's data at another task of its suite, and give its head the number of classes, in place.

    Where the network keeps its own classes, the mapping of a hook gets the number. A head without ``num_classes``, such
    as one above a text head, is left alone.

    Raises:
        ValueError: an unknown task, one of another suite, or a config whose data are no such task.
    """
    if task not in TASKS:
        raise ValueError(f"there is no task '{task}'. There are: {', '.join(TASKS)}")
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataset = config[name].dataset
        if dataset.type not in ('BenchmarkTask', 'CoOpTask', 'MiniVTAB', 'RealImages'):
            raise ValueError(f'{name} of this config shows {dataset.type}, which has no tasks to choose from')
        if TASKS[dataset.task].suite != TASKS[task].suite:
            raise ValueError(
                f"'{task}' is a task of {TASKS[task].suite}, this config is for {TASKS[dataset.task].suite}"
            )
        dataset.task = task
    part, classes = config.train_dataloader.dataset.get('part'), TASKS[task].classes
    hooks = config.get('custom_hooks') or ()
    for reader in [hook.mapping for hook in hooks if hook.get('mapping')] or [config.model.head]:
        if 'num_classes' in reader:
            reader.num_classes = number_of_base(classes) if part == 'base' else classes
