"""Test-time augmentation that holds one set of logits at a time."""

from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.structures import PixelData
from mmseg.models import SegTTAModel
from torch import Tensor

from vptx.registry import MODELS

__all__ = ['AccumulatingTTAModel']


@MODELS.register_module()
class AccumulatingTTAModel(SegTTAModel):
    """mmseg's ``SegTTAModel``: the class of the highest probability, averaged over scales and flips.

    Where mmseg's keeps the logits of all views, twelve of them in its configs, this one adds each up and forgets it.
    """

    def test_step(self, data: dict) -> list:
        """Lists over views, of lists over images -> a sample for each image, with ``pred_sem_seg`` (1, H, W)."""
        segmentor: Any = self.module.module if is_model_wrapper(self.module) else self.module
        most, segmentor.most_logits = getattr(segmentor, 'most_logits', None), float('inf')
        try:
            views = [dict(zip(data, view)) for view in zip(*data.values(), strict=True)]
            merged = self._shares(views[0])
            for view in views[1:]:
                for (_, total), (_, share) in zip(merged, self._shares(view), strict=True):
                    total += share
        finally:
            segmentor.most_logits = most
        for sample, total in merged:
            sample.set_data(dict(pred_sem_seg=PixelData(data=total.argmax(0, keepdim=True))))
        return [sample for sample, _ in merged]

    def _shares(self, view: dict) -> list[tuple[Any, Tensor]]:
        """Samples, each with its probabilities (C, H, W) instead of logits."""
        shares = []
        for sample in self.module.test_step(view):
            shares.append((sample, sample.seg_logits.data.softmax(0)))
            del sample.seg_logits
        return shares
