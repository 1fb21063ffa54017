"""Shared by all runs of segmentation: runtime.py, counted in iterations."""

_base_ = ['./runtime.py']

default_scope = 'mmseg'
custom_imports = dict(imports=['vptx', 'vptx.segmentation'], allow_failed_imports=False)

default_hooks = dict(
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2000, max_keep_ckpts=1),
)
log_processor = dict(by_epoch=False)
visualizer = dict(_delete_=True, type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
# Batch normalisation of the heads: of each process, or of all GPUs if there are several.
sync_bn = 'torch'
tta_model = dict(type='AccumulatingTTAModel')
