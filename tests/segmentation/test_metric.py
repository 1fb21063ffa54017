"""Classes that a score says nothing of."""

import logging

import pytest
import torch
from mmengine.logging import MMLogger

from vptx.segmentation import CheckedIoUMetric


@pytest.fixture
def log(caplog):
    """Messages of MMEngine's current logger, which propagates none."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.WARNING):
        yield caplog
    logger.removeHandler(caplog.handler)


def evaluate(label: list[int], predicted: list[int], **options) -> dict:
    metric = CheckedIoUMetric(**options)
    metric.dataset_meta = dict(classes=['ground', 'disc', 'ring', 'bar'])
    sample = {
        'gt_sem_seg': dict(data=torch.tensor([[label]])),
        'pred_sem_seg': dict(data=torch.tensor([[predicted]])),
        'img_path': 'a.jpg',
    }
    metric.process({}, [sample])
    return metric.evaluate(1)


def test_classes_without_a_pixel_are_named(log):
    metrics = evaluate([0, 0, 1, 255], [0, 1, 1, 2])
    assert metrics['mIoU'] == 50.0  # of two classes
    assert '2 of 4 classes occur in no mask of the 1 images evaluated (ring, bar: IoU is not a number' in log.text


def test_of_those_some_are_predicted(log):
    metrics = evaluate([0, 0, 1, 1], [0, 2, 1, 1])
    assert metrics['mIoU'] == 50.0  # of three classes, one of them 0
    assert 'bar: IoU is not a number, and mIoU leaves this out; ring, which is predicted: IoU is 0' in log.text


def test_where_all_occur_nothing_is_said(log, tmp_path):
    evaluate([0, 1, 2, 3], [0, 0, 0, 0])
    evaluate([0, 0, 0, 0], [0, 0, 0, 0], format_only=True, output_dir=str(tmp_path))
    assert 'occur in no mask' not in log.text
