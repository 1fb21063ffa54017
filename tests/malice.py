"""Files that run code when they are unpickled. Their code makes a file, and nothing else."""

import pickle
from pathlib import Path

import torch
from mmengine.logging import HistoryBuffer


class Opens:
    """Unpickling it opens a file for writing."""

    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __reduce__(self):
        return open, (self.target, 'w')


class Calls:
    """Unpickling it calls something with arguments."""

    def __init__(self, function, *arguments) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments

    def __call__(self):
        """Only so that pickle takes it for a function, and its result may be called in turn."""


class Looks(Calls):
    """Unpickling it gives an attribute of something."""

    def __init__(self, owner, name: str) -> None:
        super().__init__(getattr, owner, name)


def _by_getattr(target: Path) -> object:
    """The same by way of ``getattr``, from a class that MMEngine's loader lets through, as it does ``getattr``."""
    names = Looks(Looks(HistoryBuffer, '__init__'), '__globals__')
    builtins = Calls(Looks(names, 'get'), '__builtins__')
    return Calls(Calls(Looks(builtins, 'get'), 'open'), str(target), 'w')


def _nested(target: Path) -> object:
    """A pickle inside a pickle, opened by torch's own function."""
    return Calls(torch.storage._load_from_bytes, pickle.dumps(Opens(target)))


ATTACKS = {'open': Opens, 'getattr': _by_getattr, 'nested': _nested}


def write_attack(path: Path, target: Path, attack: str = 'open') -> Path:
    """Write to ``path`` a checkpoint that makes ``target`` when it is unpickled carelessly."""
    state = {'prompter.embedding.rows.0': torch.zeros(1), 'evil': ATTACKS[attack](target)}
    torch.save(dict(state_dict=state, meta=dict(vptx=dict(format=1), epoch=1, iter=1)), path)
    return path
