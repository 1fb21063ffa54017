"""Gaps of the ground we stand on, closed here and nowhere else, on ``import vptx``.

* A checkpoint that the safe loader refuses is unpickled unsafely by MMEngine; ours never is. MMEngine does not know
  ``.safetensors`` either; ours loads them, so that ``tools/test.py`` takes a prompt file.
* A file that MMEngine is writing when the process dies is left half written; ours is replaced whole.
* An image file that cannot be decoded is not always named; now it is. One of more bits or bands than the decoder keeps
  is refused, where OpenCV drops them without a word.
* ``_base_ = 'mmseg::...'`` does not resolve with the maintained fork of mmsegmentation.
"""

from collections.abc import Callable
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.config import utils as config_utils
from mmengine.fileio import LocalBackend, register_backend
from mmengine.runner import CheckpointLoader, checkpoint

from vptx.files import read_safetensors, safe_load, write_whole
from vptx.image_depth import loss


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location: Any = None) -> Any:
    """MMEngine's loader of local checkpoints: of ``torch.save`` and of safetensors."""
    if str(filename).endswith('.safetensors'):
        tensors, facts = read_safetensors(filename)
        return dict(state_dict=tensors, meta=dict(vptx=facts))
    return safe_load(filename, map_location)


@CheckpointLoader.register_scheme(prefixes=('http://', 'https://'), force=True)
def load_from_http(filename: str, map_location: Any = None) -> Any:
    """MMEngine's loader of remote checkpoints: downloaded to torch's hub cache, then loaded safely."""
    target = Path(torch.hub.get_dir()) / 'checkpoints' / Path(filename).name
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(filename, str(target))
    return load_from_local(str(target), map_location)


# The schemes that name a model of OpenMMLab's or torchvision's zoo go through these.
checkpoint.load_from_http = load_from_http
checkpoint._safe_torch_load = safe_load


@register_backend('local', force=True, prefixes='')
class AtomicLocalBackend(LocalBackend):
    """MMEngine's local files, none of which is ever half written."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        write_whole(filepath, obj)


def _checked(load: Callable[[Any, dict], dict | None]) -> Callable[[Any, dict], dict | None]:
    @wraps(load)
    def transform(self: LoadImageFromFile, results: dict) -> dict | None:
        path = results['img_path']
        lost = None
        try:
            if Path(path).is_file():  # of a remote file nothing is known before it is loaded
                lost = loss(path, self.color_type, self.imdecode_backend)
            if lost is None:
                return load(self, results)
        except MemoryError:
            raise
        except Exception as error:  # whatever the decoder makes of an empty file or of half an image
            raise ValueError(f'{path} cannot be read as an image: {error}') from error
        raise ValueError(f'{path} cannot be read as it is: {lost}')

    return transform


LoadImageFromFile.transform = _checked(LoadImageFromFile.transform)

if find_spec('mmseg'):
    config_utils.MODULE2PACKAGE['mmseg'] = 'mmseg'
