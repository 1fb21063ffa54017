"""Patches for MMEngine and mmsegmentation, applied on ``import vptx``. All such patches are in this module.

* A checkpoint that the safe loader refuses is unpickled unsafely by MMEngine; that of vptx never is. MMEngine runs the
  config that a checkpoint holds as a text; vptx drops it. MMEngine does not know ``.safetensors`` either; vptx loads
  them, so that ``tools/test.py`` takes a prompt file. What is downloaded has the whole address in its name.
* A file that MMEngine is writing when the process dies is left half written; vptx replaces it atomically.
* An image file that cannot be decoded is not always named; now it is. One of more bits or bands than the decoder keeps
  is refused, where OpenCV drops them without a word.
* ``_base_ = 'mmseg::...'`` does not resolve with the maintained fork of mmsegmentation; nor does any of vptx, which
  ``Config.fromfile('vptx::mini/digits_vpt_deep.py')`` takes, too.
* Debug messages of modules that have no logger are printed on import, and MMEngine warns of its own old names, which no
  user of it has written.
* MMEngine formats the text of a config again for every checkpoint, which takes longer than a linear probe's epoch;
  equal settings are formatted once. It asks compilers for their versions at the start of every run; a process and
  those that it forks ask once.
"""

import logging
import warnings
from collections.abc import Callable
from functools import cache, wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mmengine.logging
from mmengine.config import Config
from mmengine.config import utils as config_utils
from mmengine.fileio import LocalBackend, file_client, register_backend
from mmengine.runner import CheckpointLoader, checkpoint, runner

from vptx.files import download, existing, read_safetensors, safe_load, write_whole
from vptx.image_depth import loss
from vptx.shipped import find_config


def _quiet(print_log: Callable[..., None]) -> Callable[..., None]:
    @wraps(print_log)
    def said(msg: Any, logger: Any = None, level: int = logging.INFO) -> None:
        if logger is not None or level > logging.DEBUG:  # without a logger, it would be printed whatever its level
            print_log(msg, logger, level)

    return said


# Before OpenMMLab's packages are imported, which take it from here.
mmengine.logging.print_log = _quiet(mmengine.logging.print_log)
file_client.print_log = lambda *_, **__: None
warnings.filterwarnings('ignore', 'Fail to import ``MultiScaleDeformableAttention``')
from mmcv.transforms import LoadImageFromFile  # noqa: E402


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location: Any = None, **_: Any) -> Any:
    """MMEngine's loader of local checkpoints: of ``torch.save`` and of safetensors."""
    if str(filename).endswith('.safetensors'):
        tensors, facts = read_safetensors(filename)
        return dict(state_dict=tensors, meta=dict(vptx=facts))
    return _without_configs(safe_load(filename, map_location), filename)


def _without_configs(found: Any, where: str) -> Any:
    """A checkpoint without the configs in it, which MMEngine runs: ``Runner.resume`` the one in ``meta.config``, and
    inferencers that were given no config the others."""
    if isinstance(found, dict):
        for name in ('meta', 'message_hub'):
            part = found.get(name, {})
            if not isinstance(part, dict):
                raise ValueError(f'{where} is no checkpoint of MMEngine: {name} is a {type(part).__name__}, not a dict')
            said = part.get('runtime_info')
            for texts in (part, said if isinstance(said, dict) else {}):
                texts.pop('config', None)
                texts.pop('cfg', None)
    return found


@CheckpointLoader.register_scheme(prefixes=('http://', 'https://'), force=True)
def load_from_http(filename: str, map_location: Any = None, **_: Any) -> Any:
    """MMEngine's loader of remote checkpoints: downloaded to its own folder in torch's cache, then loaded safely."""
    return load_from_local(str(download(filename)), map_location)


@CheckpointLoader.register_scheme(prefixes='hf://', force=True)
def load_from_hub(filename: str, map_location: Any = None, **_: Any) -> Any:
    """A prompt file on the Hugging Face Hub, which the config names as ``load_from``."""
    from vptx.hub import local  # not on `import vptx`: huggingface_hub takes a fifth of a second

    return load_from_local(str(local(filename)), map_location)


# The schemes that name a model of OpenMMLab's or torchvision's zoo go through these.
checkpoint.load_from_http = load_from_http
checkpoint._safe_torch_load = load_from_local


@register_backend('local', force=True, prefixes='')
class AtomicLocalBackend(LocalBackend):
    """MMEngine's local files, none of which is ever half written, and none of which is waited for: a pipe is none."""

    def get(self, filepath: str | Path) -> bytes:
        return existing(filepath).read_bytes()

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

config_utils.MODULE2PACKAGE['vptx'] = 'vptx'
if find_spec('mmseg'):
    config_utils.MODULE2PACKAGE['mmseg'] = 'mmseg'


def _of_vptx(fromfile: Callable[..., Config]) -> Callable[..., Config]:
    @wraps(fromfile)
    def found(filename: str | Path, *arguments: Any, **named: Any) -> Config:
        return fromfile(find_config(filename) if str(filename).startswith('vptx::') else filename, *arguments, **named)

    return found


def _of_vptx_as_base(find: Callable[[str, str], tuple]) -> Callable[[str, str], tuple]:
    @wraps(find)
    def found(cfg_path: str, filename: str) -> tuple:
        # No scope: what vptx registers is found from every scope, and its configs name things of several libraries.
        return (str(find_config(cfg_path)), None) if cfg_path.startswith('vptx::') else find(cfg_path, filename)

    return found


Config.fromfile = staticmethod(_of_vptx(Config.fromfile))
Config._get_cfg_path = staticmethod(_of_vptx_as_base(Config._get_cfg_path))


def _formatted_once(pretty_text: Callable[[Config], str]) -> property:
    texts: dict[str, str] = {}

    def part(name: str, value: Any) -> str:
        facts = f'{name}={value!r}'
        if facts not in texts:
            while len(texts) > 255:
                texts.pop(next(iter(texts)))
            texts[facts] = pretty_text(Config({name: value})).rstrip('\n') + '\n'  # as yapf leaves it, mostly
        return texts[facts]

    @wraps(pretty_text)
    def text(config: Config) -> str:
        settings = config.to_dict()
        if not config._format_python_code or not all(str(name).isidentifier() for name in settings):
            return pretty_text(config)
        return ''.join(part(name, value) for name, value in sorted(settings.items()))

    return property(text)


Config.pretty_text = _formatted_once(Config.pretty_text.fget)
runner.collect_env = cache(runner.collect_env)
