"""Test-time augmentation that holds one set of logits at a time."""

from mmengine.structures import PixelData
from mmseg.models import SegTTAModel

from vptx.registry import MODELS

__all__ = ['AccumulatingTTAModel']


@MODELS.register_module()
class AccumulatingTTAModel(SegTTAModel):
    """mmseg's ``SegTTAModel``: the class of the highest probability, averaged over scales and flips.

    Where mmseg's keeps the logits of all views, twelve of them in its configs, this one adds each up and forgets it.
    """

    def test_step(self, data: dict) -> list:
        """Lists over views, of lists over images -> a sample for each image, with ``pred_sem_seg`` (1, H, W)."""
        segmentor = self.module
        most, segmentor.most_logits = getattr(segmentor, 'most_logits', None), float('inf')
        try:
            merged: list = []
            for view in range(len(data['inputs'])):
                samples = segmentor.test_step({key: views[view] for key, views in data.items()})
                shares = [sample.pop('seg_logits').data.softmax(0) for sample in samples]
                merged = (
                    [(s, total + share) for (s, total), share in zip(merged, shares)]
                    if view
                    else [*zip(samples, shares)]
                )
        finally:
            segmentor.most_logits = most
        for sample, total in merged:
            sample.set_data(dict(pred_sem_seg=PixelData(data=total.argmax(0, keepdim=True))))
        return [sample for sample, _ in merged]
