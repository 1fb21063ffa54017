"""``timm://NAME``, the file of weights that timm publishes, or ``https://...``: from the cache or from the network."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import timm
from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from timm.models import get_pretrained_cfg
from timm.models._hub import download_cached_file, get_cache_dir, hf_split

from vptx.files import download

__all__ = ['fetch', 'hub_id', 'is_cached']


def fetch(source: str) -> Path:
    """The file of ``source``: ``'timm://vit_base_patch16_224.mae'`` or an address; a cached one asks for no network.

    Raises:
        ValueError: timm knows no such weights (offers the nearest names).
        FileNotFoundError: neither in the cache nor to be downloaded (says what to fetch and where to name it).
    """
    if source.startswith('https://'):
        return _from_address(source)
    name, config = source.removeprefix('timm://'), _published(source)
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


def is_cached(source: str) -> bool:
    """Whether ``fetch`` of ``'timm://NAME'`` asks for no network.

    Raises:
        ValueError: timm knows no such weights.
    """
    config = _published(source)
    if config.hf_hub_id:
        repository, revision = hf_split(config.hf_hub_id)
        return _cached(repository, revision, _names(config.hf_hub_filename)) is not None
    return Path(get_cache_dir(), Path(urlparse(config.url).path).name).is_file()


def hub_id(source: str) -> str | None:
    """The repository in which timm publishes ``'timm://NAME'``; None if it does so elsewhere, or not at all."""
    try:
        return _published(source).hf_hub_id or None
    except ValueError:
        return None


def _published(source: str) -> Any:
    """timm's record of ``'timm://NAME'``."""
    name = source.removeprefix('timm://')
    try:
        config = get_pretrained_cfg(name)
    except RuntimeError:  # a known network, an unknown tag
        config = None
    if config is None or not config.has_weights:
        near = get_close_matches(name, timm.list_pretrained(), n=5)
        raise ValueError(f"timm has no weights '{name}'. Nearest: {', '.join(near) or 'none'}")
    return config


def _names(filename: str | None) -> list[str]:
    return [filename] if filename else ['model.safetensors', 'pytorch_model.bin']


def _cached(repository: str, revision: str | None, names: Sequence[str]) -> Path | None:
    for name in names:
        cached = try_to_load_from_cache(repository, name, revision=revision)
        if isinstance(cached, str):
            return Path(cached)
    return None


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
    names = _names(filename)
    cached = _cached(repository, revision, names)
    if cached is not None:
        return cached
    for name in names:
        try:
            return Path(hf_hub_download(repository, name, revision=revision))
        except LocalEntryNotFoundError:  # no network: the next name would wait as long for nothing
            raise
        except EntryNotFoundError:
            continue
    raise FileNotFoundError(f'{repository} has none of {", ".join(names)}')
