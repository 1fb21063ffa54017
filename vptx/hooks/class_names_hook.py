"""A head that is made of class names gets those of the data: base classes to train, all of them to test."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from vptx.attach import find_prompted_network
from vptx.prompt_file import ClassNames
from vptx.registry import HOOKS
from vptx.trainable import unwrap_model

__all__ = ['ClassNamesHook']


@HOOKS.register_module()
class ClassNamesHook(Hook):
    """Calls ``set_classes(names)`` of the model's mapping with the class names of the data set, before each loop.

    What is trained on one data set is then tested on another, or on classes that it has not seen: tests on
    ``CoOpTask(part='all')`` of a model that was trained on ``part='base'``. After a validation or a test the names are
    those from before. A model whose mapping has no ``set_classes`` is left alone.

    Args:
        templates: whether the mapping gets the data set's template, too (``metainfo['template']``), as zero-shot CLIP,
            KgCoOp and ProGrad have it.

    Before ``DataGuardHook``, which compares the names of the data with those of the model.
    """

    priority = 'HIGH'

    def __init__(self, templates: bool = False) -> None:
        self.templates = templates
        self._before: list[tuple[ClassNames | None, str | None]] = []
        self._template: str | None = None

    def before_train(self, runner: Runner) -> None:
        self._name(runner, runner.train_dataloader.dataset)

    def before_val(self, runner: Runner) -> None:
        self._replace(runner, runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        self._replace(runner, runner.test_dataloader.dataset)

    def after_val(self, runner: Runner) -> None:
        self._restore(runner)

    def after_test(self, runner: Runner) -> None:
        self._restore(runner)

    def _name(self, runner: Runner, dataset: Any) -> None:
        names = tuple(map(str, dataset.metainfo.get('classes') or ()))
        where = f'the data set {type(dataset).__name__} {getattr(dataset, "data_root", "")}'.strip()
        template = dataset.metainfo.get('template') if self.templates else None
        self._set(runner, ClassNames(names, where) if names else None, template)

    def _replace(self, runner: Runner, dataset: Any) -> None:
        prompted = find_prompted_network(unwrap_model(runner.model))
        self._before.append((prompted.classes if prompted is not None else None, self._template))
        self._name(runner, dataset)

    def _restore(self, runner: Runner) -> None:
        self._set(runner, *self._before.pop())

    def _set(self, runner: Runner, classes: ClassNames | None, template: str | None) -> None:
        prompted = find_prompted_network(unwrap_model(runner.model))
        if prompted is None or classes is None or not hasattr(prompted.mapping, 'set_classes'):
            return
        if prompted.classes is None or prompted.classes.names != classes.names or template != self._template:
            prompted.mapping.set_classes(list(classes.names), **({'template': template} if template else {}))
            prompted.classes, self._template = classes, template
