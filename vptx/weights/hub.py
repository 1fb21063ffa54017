"""``timm://NAME``, the file of weights that timm publishes, or ``https://...``: from the cache or from the network."""

from difflib import get_close_matches
from pathlib import Path

import timm
from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from timm.models import get_pretrained_cfg
from timm.models._hub import download_cached_file, hf_split

from vptx.files import download

__all__ = ['fetch']


def fetch(source: str) -> Path:
    """The file of ``source``: ``'timm://vit_base_patch16_224.mae'`` or an address; a cached one asks for no network.

    Raises:
        ValueError: timm knows no such weights (offers the nearest names).
        FileNotFoundError: neither in the cache nor to be downloaded (says what to fetch and where to name it).
    """
    if source.startswith('https://'):
        return _from_address(source)
    name = source.removeprefix('timm://')
    try:
        config = get_pretrained_cfg(name)
    except RuntimeError:  # a known network, an unknown tag
        config = None
    if config is None or not config.has_weights:
        near = get_close_matches(name, timm.list_pretrained(), n=5)
        raise ValueError(f"timm has no weights '{name}'. Nearest: {', '.join(near) or 'none'}")
    try:
        if config.hf_hub_id:
            return _from_hub(config.hf_hub_id, config.hf_hub_filename)
        return Path(download_cached_file(config.url or '', check_hash=False))
    except OSError as error:  # what both raise without a network
        place = f'https://huggingface.co/{config.hf_hub_id}' if config.hf_hub_id else config.url
        raise FileNotFoundError(
            f"the weights 'timm://{name}' are neither in the cache (HF_HOME) nor to be downloaded from {place}. Run "
            'this once where there is a network, or fetch the file elsewhere and give its path as weights. '
            f'({type(error).__name__}: {error})'
        ) from error


def _from_address(address: str) -> Path:
    try:
        return download(address, check_hash=True)  # a name such as name-b3be5167.pth says its hash
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(
            f'the weights {address} are neither in the cache (TORCH_HOME) nor to be downloaded. Run this once where '
            'there is a network, or fetch the file elsewhere and give its path as weights. '
            f'({type(error).__name__}: {error})'
        ) from error


def _from_hub(hub_id: str, filename: str | None) -> Path:
    repository, revision = hf_split(hub_id)
    names = [filename] if filename else ['model.safetensors', 'pytorch_model.bin']
    for name in names:
        cached = try_to_load_from_cache(repository, name, revision=revision)
        if isinstance(cached, str):
            return Path(cached)
    for name in names:
        try:
            return Path(hf_hub_download(repository, name, revision=revision))
        except LocalEntryNotFoundError:  # no network: the next name would wait as long for nothing
            raise
        except EntryNotFoundError:
            continue
    raise FileNotFoundError(f'{repository} has none of {", ".join(names)}')
