"""A prompted model as a file that runs without vptx: torch.export, ONNX, OpenVINO."""

from vptx.export.files import export_model
from vptx.export.tasks import export_graph, export_task

__all__ = ['export_graph', 'export_model', 'export_task']
