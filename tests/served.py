"""A tiny server for tests: a config, tasks in a folder, pictures, and a client that needs no socket."""

import asyncio
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import runs
import torch
from mmengine.config import Config
from PIL import Image

import vptx
from vptx.serve.app import Limits, make_app, token_hash
from vptx.serve.engine import Engine, Failure
from vptx.serve.pictures import Pictures

TOKEN = 'a token'
AUTHORIZED = {'authorization': f'Bearer {TOKEN}'}


def write_config(folder: Path) -> Config:
    """Of a classifier of images of 16 px."""
    return Config.fromfile(runs.write_config(folder / 'config.py', folder))


def write_task(config: Config, path: Path, seed: int, tokens: int = 3, classes: Sequence[str] = runs.CLASSES) -> Path:
    """A task with deep prompts, drawn from a seed; with ``tokens=0`` a linear probe."""
    config = Config(config.to_dict())
    prompter = dict(type='DeepPrompter', num_tokens=tokens) if tokens else None
    config.custom_hooks = [runs.hook(prompter) if prompter else dict(type='PromptTuningHook', tune=['head'])]
    config.model.head.num_classes = len(classes)
    torch.manual_seed(0)
    return save_drawn(vptx.init_model(config), path, seed, classes)


def save_drawn(model: torch.nn.Module, path: Path, seed: int, classes: Sequence[str]) -> Path:
    """The prompt file of a model, all that trains drawn from a seed."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_()
    vptx.save_prompt(model, path, classes=classes)
    return path


def fixed(config: Config, folder: Path, seed: int = 0) -> Config:
    """The config with weights in a file, so that all models of it are the same."""
    weights = runs.write_weights(folder / 'weights.pth', seed)
    config.model.backbone.net.weights = str(weights)
    return config


def picture(seed: int = 0, size: tuple[int, int] = (16, 16), kind: str = 'PNG') -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)
    file, image = io.BytesIO(), Image.fromarray(pixels)
    image.save(file, kind, **(dict(save_all=True, append_images=[image]) if kind == 'MPO' else {}))
    return file.getvalue()


class Local:
    """The backend of one process, without Ray."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.batches: list[int] = []

    async def predict(self, images: Sequence[Any], pairs: Sequence[tuple[int, str]]) -> list:
        self.batches.append(len(pairs))
        return await asyncio.to_thread(self.engine.predict, [(images[index], name) for index, name in pairs], 1000)

    async def attention(self, image: Any, name: str) -> dict | Failure:
        return self.engine.attention(image, name)

    async def add(self, name: str, content: bytes) -> dict | Failure:
        return self.engine.add(name, content)

    async def remove(self, name: str) -> Failure | None:
        try:
            self.engine.bank.remove(name)
        except KeyError as error:
            return Failure(404, str(error))
        return None

    async def describe(self, name: str) -> dict | Failure:
        return self.engine.describe(name)

    async def names(self) -> Sequence[str]:
        return self.engine.bank.names

    async def has(self, name: str) -> bool:
        return name in self.engine.bank

    async def facts(self) -> dict:
        return self.engine.facts()

    async def replicas(self) -> dict[str, dict]:
        return {'here': await self.facts()}


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


class Client:
    """Asks an ASGI application."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, method: str, path: str, body: bytes = b'', headers: dict | None = None) -> Reply:
        return asyncio.run(self.ask(method, path, body, headers))

    async def ask(self, method: str, path: str, body: bytes = b'', headers: dict | None = None) -> Reply:
        given = {'content-length': str(len(body)), **(headers or {})}
        scope = dict(
            type='http',
            asgi={'version': '3.0'},
            http_version='1.1',
            method=method,
            path=path,
            raw_path=path.encode(),
            query_string=b'',
            root_path='',
            scheme='http',
            server=('127.0.0.1', 80),
            client=('127.0.0.1', 1),
            headers=[(name.lower().encode(), value.encode()) for name, value in given.items() if value is not None],
        )
        parts = [body[i : i + 65536] for i in range(0, len(body), 65536)] or [b'']
        messages = [dict(type='http.request', body=part, more_body=True) for part in parts]
        messages.append(dict(type='http.request', body=b'', more_body=False))
        found: list[dict] = []
        self.unread = messages

        async def receive() -> dict:
            return messages.pop(0)

        async def send(message: dict) -> None:
            found.append(message)

        await self.app(scope, receive, send)
        replied = {name.decode(): value.decode() for name, value in found[0]['headers']}
        return Reply(found[0]['status'], replied, b''.join(message.get('body', b'') for message in found[1:]))

    def json(self, path: str, **found: Any) -> Reply:
        return self('POST', path, json.dumps(found).encode(), {'content-type': 'application/json'})


def form(fields: Sequence[tuple[str, str | bytes]]) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a form."""
    parts = []
    for name, value in fields:
        file = '; filename="x"' if isinstance(value, bytes) else ''
        parts.append(f'--edge\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode())
        parts.append((value if isinstance(value, bytes) else value.encode()) + b'\r\n')
    return b''.join(parts) + b'--edge--\r\n', {'content-type': 'multipart/form-data; boundary=edge'}


def serve(
    config: Config, folder: Path, limits: Limits | None = None, token: str | None = TOKEN
) -> tuple[Client, Local]:
    """An application on a folder of tasks, in this process."""
    backend = Local(Engine(config, folder))
    limits = limits or Limits()
    pictures = Pictures(config, backend.engine.size, limits.pixels)
    return Client(make_app(backend, pictures, limits, token and token_hash(token))), backend
