"""Prompt files on the Hugging Face Hub, by address: ``hf://user/name``.

``hf://user/name@revision/folder/file.safetensors``, where the revision and the file may be left out: the default
branch, and ``prompt.safetensors``. A branch or a tag is resolved to its commit, which is logged.

One file of safetensors is fetched and nothing else: no code, no config, no pickle.
``VPTX_HUB_PINNED=1`` in the environment refuses addresses that do not name a commit, ``VPTX_HUB_LIMIT`` is the largest
size of a file in MB.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import parse_hf_uri
from mmengine.logging import print_log

__all__ = ['FILE', 'Address', 'explained', 'fetch', 'is_address', 'local']

#: The prompt file of a repository.
FILE = 'prompt.safetensors'
#: MB. A prompt file of a ViT-L with a head of 21,843 classes has 90.
LIMIT = 1024
#: OSError, and what the HTTP library raises, which differs between versions of huggingface_hub.
_FAILURES: tuple[Any, ...] = (OSError, *HfHubHTTPError.__bases__)
EXAMPLE = 'hf://user/name, hf://user/name@commit or hf://user/name@commit/file.safetensors'
LOG_IN = 'log in with `hf auth login`, or set HF_TOKEN'


class Address:
    """A prompt file on the hub.

    Args:
        text: ``hf://user/name[@revision][/file.safetensors]``.

    Attributes:
        repository: ``user/name``.
        revision: a commit, a branch or a tag; None is the default branch.
        file: its path in the repository.

    Raises:
        ValueError: no such address, of anything but a model, or of another kind of file.
    """

    def __init__(self, text: str) -> None:
        try:
            found = parse_hf_uri(text)
        except ValueError as error:
            raise ValueError(f'{text} is no address of a prompt file: it should be {EXAMPLE} ({error})') from error
        if found.type != 'model':
            raise ValueError(f'{text} is the address of a {found.type}: prompt files are in models, {EXAMPLE}')
        self.repository, self.revision, self.file = found.id, found.revision, found.path_in_repo or FILE
        if '..' in Path(self.file).parts:
            raise ValueError(f'{text} is refused: a path in a repository has no ..')
        if Path(self.file).suffix != '.safetensors':
            raise ValueError(
                f'{text} is refused: a prompt file on a hub ends in .safetensors, which cannot hold code, not '
                f'{Path(self.file).name}'
            )

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a whole commit."""
        return re.fullmatch('[0-9a-f]{40}', self.revision or '') is not None

    def __str__(self) -> str:
        return f'hf://{self.repository}{f"@{self.revision}" * bool(self.revision)}/{self.file}'


def is_address(path: str | Path) -> bool:
    """Whether ``path`` names a file on the hub."""
    return str(path).startswith(constants.HF_PROTOCOL)


def local(path: str | Path) -> str | Path:
    """``path`` itself, or where the hub's file of this address lies after ``fetch``."""
    return fetch(str(path))[0] if is_address(path) else path


def fetch(text: str, pinned: bool | None = None, limit: int | None = None) -> tuple[Path, str]:
    """The prompt file at an address, from the cache (``HF_HOME``) or from the network.

    A commit that is in the cache asks for no network. A branch asks which commit it is, and is the last known one where
    there is no network.

    Args:
        text: ``hf://user/name[@revision][/file.safetensors]``.
        pinned: whether the address has to name a commit; by default what ``VPTX_HUB_PINNED`` says, or no.
        limit: the largest size in MB; by default that of ``VPTX_HUB_LIMIT``, or 1024.

    Returns:
        The path of the file, and its address with the commit.

    Raises:
        FileNotFoundError: no such repository, revision or file, no permission, or no network.
        ValueError: no such address; one without a commit; a larger file.
    """
    address = Address(text)
    pinned = os.environ.get('VPTX_HUB_PINNED', '0') not in ('', '0') if pinned is None else pinned
    limit = _limit() if limit is None else limit
    if pinned and not address.is_pinned:
        raise ValueError(
            f'{text} is refused: VPTX_HUB_PINNED or pinned=True asks for a commit, hf://{address.repository}@ and its '
            '40 digits'
        )
    where = address.repository, address.file
    advice = (
        'and the file is not in the cache (HF_HOME): run this once where there is a network, or fetch the file '
        'elsewhere and give its path'
    )
    with explained(text, address, advice):
        # An error before anything large is downloaded; and again after, as a branch may have moved.
        _check_size(text, hf_hub_download(*where, revision=address.revision, dry_run=True).file_size, limit)
        path = Path(hf_hub_download(*where, revision=address.revision))
    _check_size(text, path.stat().st_size, limit)
    address.revision = path.parts[-1 - len(Path(address.file).parts)]  # .../snapshots/<commit>/<file>
    print_log(f'{text} is {address}', 'current')
    return path, str(address)


def _limit() -> int:
    said = os.environ.get('VPTX_HUB_LIMIT', str(LIMIT))
    if not said.isdecimal():
        raise ValueError(f'VPTX_HUB_LIMIT={said}: it is a whole number of MB, such as {LIMIT}')
    return int(said)


def _check_size(text: str, size: int | None, limit: int) -> None:
    if size is None or size > limit * 10**6:
        said = 'an unknown number of' if size is None else f'{size / 10**6:,.0f}'
        raise ValueError(
            f'{text} is refused: it has {said} MB, and VPTX_HUB_LIMIT is {limit}. If you trust it, set VPTX_HUB_LIMIT'
        )


@contextmanager
def explained(text: str, address: Address, advice: str) -> Iterator[None]:
    """Turn what the hub or the network answers into one error.

    Args:
        text: the address as it was given.
        address: what it means.
        advice: what to do where the hub cannot be asked.

    Raises:
        FileNotFoundError: begins with ``text``.
    """
    page = f'{constants.ENDPOINT}/{address.repository}'
    try:
        yield
    except GatedRepoError as error:
        raise FileNotFoundError(
            f'{text}: access to it has to be granted. Ask for it on {page}, then {LOG_IN}'
        ) from error
    except RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f'{text}: there is no model {address.repository} on {constants.ENDPOINT}, or it is private. Check the '
            f'name; if it is private, {LOG_IN}'
        ) from error
    except RevisionNotFoundError as error:
        raise FileNotFoundError(
            f'{text}: {address.repository} has no branch, tag or commit {address.revision}; {page}/commits/main lists '
            'commits'
        ) from error
    except LocalEntryNotFoundError as error:
        raise _unreachable(text, error.__cause__ or error, advice) from error
    except EntryNotFoundError as error:
        raise FileNotFoundError(f'{text}: {address.repository} has no {address.file}{_others(address)}') from error
    except _FAILURES as error:
        raise _unreachable(text, error, advice) from error


def _unreachable(text: str, error: BaseException, advice: str) -> FileNotFoundError:
    reason = ' '.join(str(error).split())
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if status in (401, 403):
        return FileNotFoundError(
            f'{text}: {constants.ENDPOINT} refuses it with status {status}: {LOG_IN}, with a token that may do this '
            f'({reason})'
        )
    return FileNotFoundError(
        f'{text}: {constants.ENDPOINT} cannot be asked, {advice} ({type(error).__name__}: {reason})'
    )


def _others(address: Address) -> str:
    """What else a repository has."""
    try:
        names = HfApi().list_repo_files(address.repository, revision=address.revision)
    except Exception:  # it is a hint
        return ''
    found = [f'hf://{address.repository}/{name}' for name in names if name.endswith('.safetensors')]
    return f'; it has {", ".join(found[:5])}: name one' if found else ', nor another .safetensors file'
