"""Files that run code when they are unpickled or believed. Their code makes a file, and nothing else."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

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


def write_config_attack(path: Path, target: Path, checkpoint: Path) -> Path:
    """Write to ``path`` a run's real checkpoint whose config, a plain text, makes ``target`` when it is run."""
    code = f"open({str(target)!r}, 'w')\n"
    found = torch.load(checkpoint, weights_only=False)
    found['meta'].update(config=code, cfg=code)
    found['message_hub']['runtime_info'].update(cfg=code)
    torch.save(found, path)
    return path


@contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """An address, and the paths that anybody has asked it for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_) -> None:
            pass

    with ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f'http://127.0.0.1:{server.server_port}', asked
        finally:
            server.shutdown()
