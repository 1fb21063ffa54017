"""mmseg's inferencer on a model that is there already."""

from copy import deepcopy
from typing import Any

from mmseg.apis import MMSegInferencer
from torch import nn

__all__ = ['SegInferencer']


class SegInferencer(MMSegInferencer):
    """``MMSegInferencer``, which builds models from configs only, on a model from ``vptx.init_model``.

        inferencer = SegInferencer(vptx.init_model('config.py', 'prompt.safetensors'))
        inferencer('photo.jpg', out_dir='predictions')

    Args:
        model: with a prompter, weights and class names, as ``vptx.init_model`` returns it.
        **arguments: of ``MMSegInferencer``: ``device``, ``show_progress``, ...
    """

    def __init__(self, model: nn.Module, **arguments) -> None:
        self._given = model
        # What the inferencer changes in a config is no concern of the model's.
        super().__init__(model=deepcopy(model.cfg), **{'device': next(model.parameters()).device, **arguments})
        meta: Any = model.dataset_meta
        self.visualizer.set_dataset_meta(**meta)

    def _init_model(self, *_, **__) -> nn.Module:
        return self._given
