"""mmsegmentation's data preprocessor, for images of any number of channels; MMEngine's takes mean and std of 1 or 3."""

from collections.abc import Sequence

import torch
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS

__all__ = ['AnyBandsPreProcessor']


@MODELS.register_module(name='SegDataPreProcessor', force=True)
class AnyBandsPreProcessor(SegDataPreProcessor):
    """mmsegmentation's ``SegDataPreProcessor``, under its name; ``mean`` and ``std`` may have any number of values.

    Args:
        mean: of each channel, in the units of the files.
        std: the same.
        arguments: of mmsegmentation's.

    Raises:
        ValueError: numbers of values that differ.
    """

    def __init__(self, mean: Sequence[float] | None = None, std: Sequence[float] | None = None, **arguments) -> None:
        if mean is None or std is None or len(mean) in (1, 3):
            super().__init__(mean, std, **arguments)
            return
        if len(mean) != len(std):
            raise ValueError(
                f'data_preprocessor.mean has {len(mean)} values and std {len(std)}: give one of each channel'
            )
        super().__init__(**arguments)
        self._enable_normalize = True
        for name, values in (('mean', mean), ('std', std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(-1, 1, 1), False)
