"""Gaps of the ground we stand on, closed here and nowhere else, on ``import vptx``.

* A checkpoint that the safe loader refuses is unpickled unsafely by MMEngine; ours never is.
* A file that MMEngine is writing when the process dies is left half written; ours is replaced whole.
* ``_base_ = 'mmseg::...'`` does not resolve with the maintained fork of mmsegmentation.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from mmengine.config import utils as config_utils
from mmengine.fileio import LocalBackend, register_backend
from mmengine.runner import CheckpointLoader

from vptx.files import safe_load, write_whole


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location: Any = None) -> Any:
    """MMEngine's loader of local checkpoints, by :func:`~vptx.files.safe_load`."""
    return safe_load(filename, map_location)


@CheckpointLoader.register_scheme(prefixes=('http://', 'https://'), force=True)
def load_from_http(filename: str, map_location: Any = None) -> Any:
    """MMEngine's loader of remote checkpoints: downloaded to torch's hub cache, then loaded safely."""
    target = Path(torch.hub.get_dir()) / 'checkpoints' / Path(filename).name
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(filename, str(target))
    return safe_load(target, map_location)


@register_backend('local', force=True, prefixes='')
class AtomicLocalBackend(LocalBackend):
    """MMEngine's local files, none of which is ever half written."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        write_whole(filepath, obj)


if find_spec('mmseg'):
    config_utils.MODULE2PACKAGE['mmseg'] = 'mmseg'
