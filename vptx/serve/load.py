"""Requests of many clients at a time to a running server, and how long their answers take."""

import base64
import io
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image

from vptx.apis import init_model
from vptx.prompt_file import save_prompt

__all__ = ['Reply', 'Round', 'ask', 'draw_requests', 'draw_tasks', 'load', 'markdown', 'measure']


@dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes:
        status: of HTTP; 0 where nothing came.
        content: the body.
        seconds: from request to answer.
    """

    status: int
    content: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.content or b'{}')


@dataclass(frozen=True)
class Round:
    """Requests of one kind in a row.

    Attributes:
        seconds: of each answer.
        wall: of all of them.
    """

    seconds: list[float]
    wall: float

    @property
    def throughput(self) -> float:
        """Answers a second."""
        return len(self.seconds) / self.wall

    def percentile(self, number: int) -> float:
        return quantiles(self.seconds, n=100, method='inclusive')[number - 1]


def ask(
    address: str,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    patience: float = 300,
) -> Reply:
    """Ask once.

    Args:
        address: of the server, as ``http://127.0.0.1:8000``.
        method: of HTTP.
        path: begins with a slash.
        body: of the request.
        headers: of the request.
        patience: seconds until an answer counts as lost.
    """
    request, started = Request(address + path, body, dict(headers or {}), method=method), time.perf_counter()
    try:
        with urlopen(request, timeout=patience) as found:
            status, content = found.status, found.read()
    except HTTPError as error:
        status, content = error.code, error.read()
    except (OSError, HTTPException):
        status, content = 0, b''
    return Reply(status, content, time.perf_counter() - started)


def load(address: str, asked: Sequence[Mapping[str, Any]], clients: int = 8) -> Iterator[Reply]:
    """Answers to requests of ``/predict``, in their order, as they come. Each client asks when it has its answer."""
    headers = {'content-type': 'application/json'}
    with ThreadPoolExecutor(clients) as pool:
        bodies = [json.dumps(body).encode() for body in asked]
        yield from pool.map(lambda body: ask(address, 'POST', '/predict', body, headers), bodies)


def draw_tasks(config: Config, folder: str | Path, number: int) -> list[str]:
    """Write prompt files of a config, with random numbers; the names of their tasks."""
    model, names = init_model(config), [f'task{index:03}' for index in range(number)]
    for name in names:
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.normal_(std=0.02)
        save_prompt(model, Path(folder, f'{name}.safetensors'))
    return names


def draw_requests(names: Sequence[str], number: int, size: int = 224, seed: int = 0) -> list[dict[str, Any]]:
    """So many requests with an image of ``size`` pixels each, under tasks that are drawn."""
    draw, requests = np.random.default_rng(seed), []
    for name in draw.choice(list(names), number):
        file = io.BytesIO()
        Image.fromarray(draw.integers(0, 255, (size, size, 3), np.uint8)).save(file, 'JPEG')
        requests.append(dict(image=base64.b64encode(file.getvalue()).decode(), task=str(name), top=5))
    return requests


def measure(
    address: str, candidates: Mapping[str, Sequence[Mapping[str, Any]]], rounds: int = 5, clients: int = 8
) -> dict[str, list[Round]]:
    """Load a server with one kind of requests after the other, in turn in each round.

    Args:
        address: of the server.
        candidates: requests of ``/predict``, by the name of their kind.
        rounds: after one that is not counted.
        clients: that ask at a time.

    Raises:
        RuntimeError: a request that was not answered.
    """
    found: dict[str, list[Round]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, asked in candidates.items():
            started = time.perf_counter()
            replies = list(load(address, asked, clients))
            wall = time.perf_counter() - started
            for reply in replies:
                if reply.status != 200:
                    raise RuntimeError(f'{address} answered with status {reply.status}: {reply.content[:500]!r}')
            if number:
                found[name].append(Round([reply.seconds for reply in replies], wall))
    return found


def markdown(found: Mapping[str, Sequence[Round]]) -> str:
    """A table: medians over rounds; in brackets median, smallest and largest ratio to the first kind, by round."""
    lines = ['| | answers a second | p50, ms | p99, ms |', '|---|---:|---:|---:|']
    (_, first), *_ = found.items()
    for name, rounds in found.items():
        cells = []
        for value, scale in (
            (lambda each: each.throughput, 1),
            (lambda each: each.percentile(50), 1000),
            (lambda each: each.percentile(99), 1000),
        ):
            ratios = [value(each) / value(other) for each, other in zip(rounds, first, strict=True)]
            of = f'{median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}'
            cells.append(f'{scale * median(map(value, rounds)):.1f} ({of})')
        lines.append(f'| {name} | {" | ".join(cells)} |')
    return '\n'.join(lines)
