"""MMEngine's ``Adafactor``, which imports transformers when a config asks for it.

MMEngine imports transformers, where it is installed, to register this one optimizer. That is a third of its own import.
"""

import sys
from importlib.util import find_spec
from typing import Any

from mmengine.registry import OPTIMIZERS

if 'mmengine.optim' not in sys.modules and 'transformers' not in sys.modules and find_spec('transformers'):
    sys.modules['transformers'] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        import mmengine.optim  # noqa: F401
    finally:
        del sys.modules['transformers']

    @OPTIMIZERS.register_module(name='Adafactor')
    def make_adafactor(*arguments: Any, **named: Any) -> Any:
        """The optimizer of transformers."""
        from transformers import Adafactor

        return Adafactor(*arguments, **named)
