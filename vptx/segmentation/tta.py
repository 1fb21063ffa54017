"""Test-time augmentation that holds one set of logits at a time."""

from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.models import SegTTAModel
from torch import Tensor

from vptx.registry import MODELS
from vptx.segmentation.segmentor import StreamedEncoderDecoder, decide, probabilities
from vptx.trainable import unwrap_model

__all__ = ['AccumulatingTTAModel']


@MODELS.register_module()
class AccumulatingTTAModel(SegTTAModel):
    """mmseg's ``SegTTAModel``: the class of the highest probability, averaged over scales and flips.

    Of one logit for two classes, the probabilities (sigmoid) are averaged and compared with the head's threshold.

    Where mmseg's keeps the logits of all views, twelve of them in its configs, this one adds each up and forgets it; of
    images that ``StreamedEncoderDecoder`` goes through row by row, it does so with all views side by side.
    """

    def test_step(self, data: dict) -> list:
        """Lists over views, of lists over images -> a sample for each image, with ``pred_sem_seg`` (1, H, W).

        Raises:
            ValueError: views turned upside down, of images so large that all views are gone through row by row.
        """
        segmentor: Any = unwrap_model(self.module)
        views = [dict(zip(data, view)) for view in zip(*data.values(), strict=True)]
        views = [segmentor.data_preprocessor(view, False) for view in views]
        if isinstance(segmentor, StreamedEncoderDecoder) and any(segmentor.streams(**view) for view in views):
            return self._streamed(segmentor, views)
        merged = self._shares(segmentor, views[0])
        for view in views[1:]:
            for (_, total), (_, share) in zip(merged, self._shares(segmentor, view), strict=True):
                total += share
        threshold = segmentor.decode_head.threshold
        for sample, total in merged:
            sample.set_data(dict(pred_sem_seg=PixelData(data=decide(total.div_(len(views)), threshold)[None])))
        return [sample for sample, _ in merged]

    @staticmethod
    def _shares(segmentor: Any, view: dict) -> list[tuple[Any, Tensor]]:
        """Samples, each with its probabilities (C, H, W) instead of logits."""
        shares = []
        for sample in segmentor.predict(**view):
            scores = sample.seg_logits.data
            # Of one logit, mmseg has taken the sigmoid already.
            shares.append((sample, probabilities(scores) if len(scores) > 1 else scores))
            del sample.seg_logits
        return shares

    @staticmethod
    def _streamed(segmentor: StreamedEncoderDecoder, views: list[dict]) -> list:
        """All views of an image side by side, from top to bottom, so that no view is held whole."""
        samples = views[0]['data_samples']
        for index, sample in enumerate(samples):
            labels = torch.empty(sample.ori_shape, dtype=torch.long, device=views[0]['inputs'].device)
            streams = [
                segmentor.strips(view['inputs'][index : index + 1], view['data_samples'][index].metainfo)
                for view in views
            ]
            for strips in zip(*streams, strict=True):
                rows = strips[0][0]
                if any(not torch.equal(rows, others) for others, _ in strips):
                    raise ValueError(
                        f'{sample.img_path} is too large for views that are flipped vertically: take these out of '
                        'tta_pipeline, or raise most_logits of the model if there is memory'
                    )
                total = probabilities(strips[0][1])
                for _, logits in strips[1:]:
                    total += probabilities(logits)
                labels[rows] = decide(total.div_(len(strips)), segmentor.decode_head.threshold)
            sample.set_data(dict(pred_sem_seg=PixelData(data=labels[None])))
        return samples
