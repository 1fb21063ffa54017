"""``last_checkpoint``, the file in which a run says what it goes on from."""

import shutil
from pathlib import Path
from typing import Any

from .battery import Bait, Kind
from .prompt_files import trained, training
from .spoils import BYTES, content


def good(folder: Path) -> Path:
    shutil.copy(trained() / 'epoch_1.pth', folder)
    pointer = folder / 'last_checkpoint'
    pointer.write_text(str(folder / 'epoch_1.pth'))
    return pointer


def resumed(path: Path, work: Path) -> Any:
    path.parent.rename(work)
    return training('auto', work)


def elsewhere(path: Path, bait: Bait) -> None:
    path.write_text(str(bait.treasure / 'epoch_7.pth'))


KIND = Kind(
    'last_checkpoint',
    good,
    {
        **{name: BYTES[name] for name in ('empty', 'noise')},
        'a path too long': content(b'/a' * 50_000),
        'a null byte': content(b'epoch_1\0.pth'),
        'an address': content(b'http://127.0.0.1:9/epoch_1.pth'),
        'a checkpoint of another run': elsewhere,
    },
    {'train.py --resume': resumed},
    # The checkpoints beside it are found without it.
    harmless=(
        'empty',
        'noise',
        'a path too long',
        'a null byte',
        'an address',
        'a checkpoint of another run',
    ),
)
