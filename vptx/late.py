"""Four classes of MMEngine that take a second to import, imported when they are asked for.

MMEngine imports transformers to register one optimizer. It imports torch's sharding, which imports sympy, for an
optimizer, a wrapper and a strategy. A config that names one of the four gets it, and so does an import of it.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from mmengine.registry import MODEL_WRAPPERS, OPTIMIZERS, STRATEGIES, Registry


class _LateModule(ModuleType):
    """Stands in the place of a module of MMEngine that defines one class, until something of that module is used."""

    def __init__(self, name: str, made: str, registry: Registry) -> None:
        super().__init__(name)
        self._made, self._registry = made, registry
        # To be registered and built before MMEngine's class is there.
        build = dict(__new__=lambda _, *args, **named: getattr(self, made)(*args, **named))
        self._stand_in = type(made, (), dict(build, __module__=name))
        registry.register_module(name=made, module=self._stand_in)
        vars(self)[made] = self._stand_in
        sys.modules[name] = self

    def leave(self) -> None:
        """After MMEngine's packages have taken the stand-in for the class: take it back, and let them ask."""
        del vars(self)[self._made]
        for package in [found for name, found in sys.modules.items() if name.startswith('mmengine.')]:
            if vars(package).get(self._made) is self._stand_in:
                delattr(package, self._made)
                package.__getattr__ = self._asked  # type: ignore[method-assign]

    def _asked(self, name: str) -> Any:
        if name != self._made:
            raise AttributeError(f'this package of MMEngine has no attribute {name!r}')
        return getattr(self, name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):  # what the import system asks of every module
            raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}')
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
            del self._registry.module_dict[self._made]
        return getattr(import_module(self.__name__), name)


if 'mmengine.optim' not in sys.modules and 'mmengine.model' not in sys.modules:
    late = [
        _LateModule('mmengine.optim.optimizer.zero_optimizer', 'ZeroRedundancyOptimizer', OPTIMIZERS),
        _LateModule('mmengine.model.wrappers.fully_sharded_distributed', 'MMFullyShardedDataParallel', MODEL_WRAPPERS),
        _LateModule('mmengine._strategy.fsdp', 'FSDPStrategy', STRATEGIES),
    ]
    with_adafactor = 'transformers' not in sys.modules and find_spec('transformers')
    if with_adafactor:
        sys.modules['transformers'] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        import mmengine.runner  # noqa: F401
    finally:
        if with_adafactor:
            del sys.modules['transformers']
        for module in late:
            module.leave()

    if with_adafactor:

        @OPTIMIZERS.register_module(name='Adafactor')
        def make_adafactor(*arguments: Any, **named: Any) -> Any:
            """The optimizer of transformers."""
            from transformers import Adafactor

            return Adafactor(*arguments, **named)
