"""The server as an ASGI application: what comes over HTTP, and what goes back. It knows no Ray.

GET    /                    the page
GET    /health              whether there are answers
GET    /metrics             for Prometheus
GET    /tasks               names, versions and classes
PUT    /tasks/NAME          add or replace: the body is a prompt file; with a token
DELETE /tasks/NAME          remove; with a token
POST   /predict             images and tasks, as JSON or as a form
POST   /attention           of the class token: one image, one task
"""

import asyncio
import hashlib
import hmac
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client import Counter as Count
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from vptx.serve.bank import check_name
from vptx.serve.engine import Answer, Failure, as_json
from vptx.serve.pictures import Pictures, RefusedImage, from_base64

__all__ = ['Backend', 'Full', 'Limits', 'make_app', 'token_hash']

PAGE = Path(__file__).with_name('page.html')
#: In place of names: every task there is.
EVERY = ['*']
#: How much is read of a body that is refused, in bodies of the largest size.
DISCARDED = 4


class Full(Exception):  # noqa: N818  the state of a queue
    """There is no place in the queue for more images; a server answers with status 503."""


@dataclass(frozen=True)
class Limits:
    """What a server takes.

    Attributes:
        body: bytes of a request with images.
        file: bytes of a prompt file.
        pixels: of an image.
        total: pixels of all images of a request.
        images: of a request.
        answers: of a request, an image under a task each.
        queue: answers that are waited for; above that, 503.
        client: requests of one address at a time; above that, 429.
        decoders: threads that decode images.
    """

    body: int = 32 * 2**20
    file: int = 64 * 2**20
    pixels: int = 40_000_000
    total: int = 400_000_000
    images: int = 64
    answers: int = 1024
    queue: int = 1024
    client: int = 64
    decoders: int = 4


class Backend(Protocol):
    """Where the answers come from. Each may raise ``Full``."""

    async def predict(self, images: Sequence[Any], pairs: Sequence[tuple[int, str]]) -> list[Any]:
        """Of each pair of the number of an image and the name of a task: see ``Engine.predict``."""

    async def attention(self, image: Any, name: str) -> dict | Failure: ...

    async def add(self, name: str, content: bytes) -> dict | Failure: ...

    async def remove(self, name: str) -> Failure | None: ...

    async def describe(self, name: str) -> dict | Failure: ...

    async def names(self) -> Sequence[str]: ...

    async def has(self, name: str) -> bool: ...

    async def facts(self) -> dict: ...

    async def replicas(self) -> dict[str, dict]:
        """Facts of each replica that answers, by its name."""


class _Refused(Exception):  # noqa: N818  what was done, not what is wrong
    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers


def token_hash(token: str) -> str:
    """What of a token is kept."""
    return hashlib.sha256(token.encode()).hexdigest()


class _Server:
    def __init__(self, backend: Backend, pictures: Pictures, limits: Limits, token: str | None, front: str) -> None:
        self.backend, self.pictures, self.limits, self.token = backend, pictures, limits, token
        self.pool = ThreadPoolExecutor(limits.decoders, 'decode')
        self.waiting, self.clients = 0, Counter[str]()
        self.registry = CollectorRegistry()
        self.labels = dict(front=front)
        options: dict[str, Any] = dict(registry=self.registry)
        self.requests = Count('vptx_requests', 'Requests', ['front', 'route', 'status'], **options)
        self.answers = Count('vptx_answers', 'Images under a task', ['front', 'task'], **options)
        self.seconds = Histogram('vptx_seconds', 'From request to answer', ['front', 'route'], **options)
        self.queue = Gauge('vptx_queue', 'Answers that are waited for', ['front'], **options)
        self.bank = {
            key: Gauge(f'vptx_bank_{key}', f'Of the bank of a replica: {key}', ['replica'], **options)
            for key in ('tasks', 'slots', 'ready', 'loads', 'bytes', 'answers')
        }

    # Around every request

    def route(self, path: str, handler: Callable[[Request], Awaitable[Response]], *methods: str) -> Route:
        async def handle(request: Request) -> Response:
            started, client = time.perf_counter(), request.client.host if request.client else ''
            try:
                if self.clients[client] >= self.limits.client:
                    raise _Refused(
                        429, f'more than {self.limits.client} requests of one client at a time', {'Retry-After': '1'}
                    )
                self.clients[client] += 1
                try:
                    response = await handler(request)
                finally:
                    self.clients[client] -= 1
                    if not self.clients[client]:
                        del self.clients[client]
            except _Refused as error:
                response = _error(error.status, str(error), error.headers)
            except RefusedImage as error:
                response = _error(error.status, str(error))
            except Full:
                response = _error(503, 'the queue is full: come back later', {'Retry-After': '1'})
            if response.status_code >= 400:
                await self.discard(request)
            self.requests.labels(**self.labels, route=path, status=str(response.status_code)).inc()
            self.seconds.labels(**self.labels, route=path).observe(time.perf_counter() - started)
            return response

        return Route(path, handle, methods=list(methods))

    def check_token(self, request: Request) -> None:
        if self.token is None:
            raise _Refused(403, 'this server was started without a token: its tasks cannot be changed')
        kind, _, given = request.headers.get('authorization', '').partition(' ')
        if kind.lower() != 'bearer' or not hmac.compare_digest(token_hash(given.strip()), self.token):
            raise _Refused(401, 'a change needs the header Authorization: Bearer TOKEN', {'WWW-Authenticate': 'Bearer'})

    async def body(self, request: Request, limit: int) -> bytes:
        length = request.headers.get('content-length', '')
        if length.isdecimal() and int(length) > limit:
            raise _Refused(413, f'a body of {int(length):,} bytes, more than {limit:,}')
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise _Refused(413, f'a body of more than {limit:,} bytes')
            parts.append(part)
        return b''.join(parts)

    async def discard(self, request: Request) -> None:
        """Read what a client still sends, within limits: most of them hear no answer before."""
        left = DISCARDED * max(self.limits.body, self.limits.file)
        with suppress(RuntimeError, ClientDisconnect):  # all is read, or the client has gone
            async for part in request.stream():
                left -= len(part)
                if left < 0:
                    return

    # Tasks

    async def tasks(self, request: Request) -> Response:
        found = [await self.backend.describe(name) for name in await self.backend.names()]
        good = [task for task in found if not isinstance(task, Failure)]
        return JSONResponse(dict(tasks=good, unfit=[task.message for task in found if isinstance(task, Failure)]))

    async def put(self, request: Request) -> Response:
        self.check_token(request)
        name = self.name(request.path_params['name'])
        content = await self.body(request, self.limits.file)
        there = await self.backend.has(name)
        found = await self.backend.add(name, content)
        if isinstance(found, Failure):
            return _error(found.status, found.message)
        return JSONResponse(found, 200 if there else 201)

    async def delete(self, request: Request) -> Response:
        self.check_token(request)
        failure = await self.backend.remove(self.name(request.path_params['name']))
        return Response(status_code=204) if failure is None else _error(failure.status, failure.message)

    def name(self, name: Any) -> str:
        try:
            return check_name(name)
        except ValueError as error:
            raise _Refused(400, str(error)) from error

    # Images

    async def asked(self, request: Request) -> tuple[list[bytes], list[list[str]], int]:
        """Images, the tasks of each, and how many classes are asked for."""
        content = await self.body(request, self.limits.body)
        kind = request.headers.get('content-type', '').partition(';')[0].strip().lower()
        if kind == 'application/json':
            images, tasks, top = self.from_json(content)
        elif kind == 'multipart/form-data':
            images, tasks, top = await self.from_form(request, content)
        else:
            raise _Refused(415, 'images come as application/json or as multipart/form-data')
        if not images or not tasks or not all(tasks):
            raise _Refused(400, 'a request has at least one image and one task')
        if len(images) > self.limits.images:
            raise _Refused(413, f'{len(images)} images in a request, more than {self.limits.images}')
        each = tasks if isinstance(tasks[0], list) else [tasks] * len(images)
        if len(each) != len(images):
            raise _Refused(400, f'{len(each)} lists of tasks for {len(images)} images')
        if each != [EVERY] * len(images):
            for name in (name for names in each for name in names):
                self.name(name)
        return images, each, top

    def from_json(self, content: bytes) -> tuple[list[bytes], list, int]:
        try:
            found = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise _Refused(400, f'no JSON: {error}') from error
        if not isinstance(found, dict):
            raise _Refused(400, 'JSON of a request is an object with images and tasks')
        images = found.get('images', [found['image']] if 'image' in found else [])
        tasks = found.get('tasks', [found['task']] if 'task' in found else [])
        if not isinstance(images, list) or not isinstance(tasks, list):
            raise _Refused(400, 'images and tasks are lists')
        kinds = {type(task) for task in tasks}
        if len(kinds) > 1 or not kinds <= {str, list}:
            raise _Refused(400, 'tasks is a list of names, or a list of names for each image')
        return [from_base64(image) for image in images], tasks, self.top(found.get('top', 5))

    async def from_form(self, request: Request, content: bytes) -> tuple[list[bytes], list, int]:
        async def stream() -> Any:
            yield content

        limits: dict[str, Any] = dict(max_files=self.limits.images, max_fields=self.limits.answers)
        try:
            form = await MultiPartParser(request.headers, stream(), **limits).parse()
        except (MultiPartException, KeyError, ValueError) as error:
            raise _Refused(400, f'no form: {error}') from error
        try:
            files = [part for part in (*form.getlist('image'), *form.getlist('images')) if isinstance(part, UploadFile)]
            tasks = [part for part in (*form.getlist('task'), *form.getlist('tasks')) if isinstance(part, str)]
            return [await file.read() for file in files], tasks, self.top(form.get('top', 5))
        finally:
            await form.close()

    def top(self, value: Any) -> int:
        if not str(value).isdecimal() or not 1 <= int(value) <= 1000:
            raise _Refused(400, f'top is the number of classes of an answer, 1 to 1000, not {value!r}')
        return int(value)

    async def decode(self, content: bytes) -> Any:
        self.pictures.look(content)
        return await asyncio.get_running_loop().run_in_executor(self.pool, self.pictures, content)

    async def check_there(self, names: Sequence[str]) -> None:
        for name in dict.fromkeys(names):
            if not await self.backend.has(name):
                raise _Refused(404, f'there is no task {name!r}')

    async def predict(self, request: Request) -> Response:
        images, tasks, top = await self.asked(request)
        every = tasks == [EVERY] * len(images)
        if every:
            tasks = [list(await self.backend.names())] * len(images)
        pairs = [(index, name) for index, names in enumerate(tasks) for name in names]
        most = min(self.limits.answers, self.limits.queue)
        if len(pairs) > most:
            raise _Refused(413, f'{len(pairs)} answers in a request, more than {most}')
        await self.check_there([name for _, name in pairs])
        pixels = sum(width * height for _, (width, height) in map(self.pictures.look, images))
        if pixels > self.limits.total:
            raise _Refused(413, f'images of {pixels:,} pixels together, more than {self.limits.total:,}')
        if self.waiting + len(pairs) > self.limits.queue:
            raise Full
        self.waiting += len(pairs)
        try:
            inputs = await asyncio.gather(*[self.decode(image) for image in images])
            found = await self.backend.predict(inputs, [*pairs])
        finally:
            self.waiting -= len(pairs)
        answers, unfit = list[dict](), dict[str, None]()
        for (index, name), answer in zip(pairs, found, strict=True):
            if isinstance(answer, Failure):
                if not every or answer.status not in (404, 422):
                    return _error(answer.status, answer.message)
                if answer.status == 422:  # a task that was removed in the meantime is none of all
                    unfit[answer.message] = None
                continue
            self.answers.labels(**self.labels, task=name).inc()
            facts = as_json(answer)
            if isinstance(answer, Answer):  # the classes of a mask are all that it has
                facts['classes'] = facts['classes'][:top]
            answers.append(dict(image=index, **facts))
        return JSONResponse(dict(answers=answers, unfit=list(unfit)) if every else dict(answers=answers))

    async def attention(self, request: Request) -> Response:
        images, tasks, _ = await self.asked(request)
        if len(images) != 1 or len(tasks[0]) != 1:
            raise _Refused(400, 'attention is shown of one image under one task')
        await self.check_there(tasks[0])
        if self.waiting >= self.limits.queue:
            raise Full
        self.waiting += 1
        try:
            found = await self.backend.attention(await self.decode(images[0]), tasks[0][0])
        finally:
            self.waiting -= 1
        return _error(found.status, found.message) if isinstance(found, Failure) else JSONResponse(found)

    # The server itself

    async def page(self, request: Request) -> Response:
        return HTMLResponse(PAGE.read_text(encoding='utf-8'), headers=PAGE_HEADERS)

    async def health(self, request: Request) -> Response:
        try:
            facts = await asyncio.wait_for(self.backend.facts(), 5)
        except Exception as error:  # whatever it is that does not answer
            return _error(503, f'no answer: {type(error).__name__}')
        return JSONResponse(dict(status='ok', **facts))

    async def metrics(self, request: Request) -> Response:
        self.queue.labels(**self.labels).set(self.waiting)
        found = await self.backend.replicas()
        for key, gauge in self.bank.items():
            gauge.clear()  # of replicas that are no more
            for replica, facts in found.items():
                gauge.labels(replica=replica).set(facts[key])
        return Response(generate_latest(self.registry), media_type='text/plain; version=0.0.4')


#: The page asks this server alone.
PAGE_HEADERS = {
    'Content-Security-Policy': "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src blob: data:; media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
}


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(dict(error=message), status, headers)


def make_app(
    backend: Backend,
    pictures: Pictures,
    limits: Limits | None = None,
    token: str | None = None,
    front: str = '',
) -> Starlette:
    """The application.

    Args:
        backend: where the answers come from.
        pictures: reads images.
        limits: what it takes.
        token: ``token_hash`` of what a change needs; None allows none.
        front: its name, for metrics.
    """
    server = _Server(backend, pictures, limits or Limits(), token, front)

    async def no_route(request: Request, error: Any) -> Response:
        return _error(error.status_code, f'{request.method} {request.url.path}: {error.detail}', error.headers)

    return Starlette(
        exception_handlers={HTTPException: no_route},
        routes=[
            server.route('/', server.page, 'GET'),
            server.route('/health', server.health, 'GET'),
            server.route('/metrics', server.metrics, 'GET'),
            server.route('/tasks', server.tasks, 'GET'),
            server.route('/tasks/{name}', server.put, 'PUT'),
            server.route('/tasks/{name}', server.delete, 'DELETE'),
            server.route('/predict', server.predict, 'POST'),
            server.route('/attention', server.attention, 'POST'),
        ],
    )
