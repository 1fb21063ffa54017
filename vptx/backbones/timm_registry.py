"""timm's registry gets the networks of vptx (``vit_mini.py``) as soon as timm is imported, before vptx or after it.

``import vptx`` does not import timm, which takes as long as everything else together.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _TimmFinder(MetaPathFinder):
    """Finds timm where the others do, and imports ``vit_mini`` after it.

    It stays until timm is imported, as there is code that only asks whether timm can be.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != 'timm':
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def run_and_register(module: ModuleType) -> None:
                run(module)
                if self in sys.meta_path:
                    sys.meta_path.remove(self)
                from . import vit_mini  # noqa: F401

            spec.loader.exec_module = run_and_register  # type: ignore[method-assign]
        return spec


if 'timm' in sys.modules:
    from . import vit_mini  # noqa: F401
else:
    sys.meta_path.insert(0, _TimmFinder())
