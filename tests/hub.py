"""A stand-in for the Hugging Face Hub on this machine: what huggingface_hub asks of it for models, over HTTP."""

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

TOKEN = 'hf_of_a_test'


@dataclass
class Repository:
    """Commits, as files by path, and the branches that point at them."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False

    def commit(self, files: dict[str, bytes], branch: str = 'main') -> str:
        """A new commit with these files besides those of the branch."""
        found = {**self.commits.get(self.branches.get(branch, ''), {}), **files}
        facts = [*self.commits, *(f'{name} {sha1(content).hexdigest()}' for name, content in sorted(found.items()))]
        oid = sha1('\n'.join(facts).encode()).hexdigest()
        self.commits[oid], self.branches[branch] = found, oid
        return oid


@dataclass
class Hub:
    """What is on it, and what was asked of it."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ''
    down: bool = False
    lies_of_size: int = 0

    def add(self, name: str, files: dict[str, bytes], **options: Any) -> str:
        """A repository with one commit; the commit."""
        self.repositories[name] = Repository(**options)
        return self.repositories[name].commit(files)


class _Refusal(Exception):  # noqa: N818
    def __init__(self, status: int, code: str = '', message: str = '', body: bytes = b'{}') -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.body = status, code, message, body


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f'{self.command} {path}')
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        try:
            if self.hub.down:
                raise _Refusal(500, message='Internal Error')
            for pattern, answer in _ROUTES:
                if found := re.fullmatch(pattern, f'{self.command} {path}'):
                    answer(self, body, **found.groupdict())
                    return
            raise _Refusal(404, message='no such page')
        except _Refusal as refusal:
            headers = {'X-Error-Code': refusal.code, 'X-Error-Message': refusal.message}
            self._send(refusal.status, refusal.body, **{name: text for name, text in headers.items() if text})

    def _send(self, status: int, content: bytes, size: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header('Content-Length', str(len(content) if size is None else size))
        for name, text in headers.items():
            self.send_header(name.replace('_', '-'), text)
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(content)

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), Content_Type='application/json')

    def _has_token(self) -> bool:
        said = self.headers.get('Authorization')
        if said and said != f'Bearer {TOKEN}':
            raise _Refusal(401, message='Invalid credentials in Authorization header')
        return bool(said)

    def _repository(self, name: str, write: bool = False) -> Repository:
        known, found = self._has_token(), self.hub.repositories.get(name)
        if found is None or (not known and (found.private or write)):
            raise _Refusal(404 if known else 401, 'RepoNotFound', 'Repository not found')
        return found

    def _files(self, name: str, revision: str) -> tuple[str, dict[str, bytes]]:
        repository = self._repository(name)
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits:
            raise _Refusal(404, 'RevisionNotFound', f'Invalid rev id: {revision}')
        return commit, repository.commits[commit]

    def create(self, body: bytes) -> None:
        if not self._has_token():
            raise _Refusal(401, message='Invalid username or password.')
        said = json.loads(body)
        name = f'{said["organization"]}/{said["name"]}'
        if said['organization'] != 'user':
            raise _Refusal(403, message=f"You don't have the rights to create a model under {said['organization']}")
        if name in self.hub.repositories:
            body = json.dumps(dict(url=f'{self.hub.url}/{name}')).encode()
            raise _Refusal(409, message='You already created this model repo', body=body)
        self.hub.repositories[name] = Repository(private=said.get('visibility') == 'private')
        self.hub.repositories[name].commit({'.gitattributes': b'*.safetensors filter=lfs'})
        self._json(dict(url=f'{self.hub.url}/{name}'))

    def validate(self, body: bytes) -> None:
        self._json(dict(errors=[], warnings=[]))

    def resolve(self, body: bytes, name: str, revision: str, file: str) -> None:
        commit, files = self._files(name, revision)
        if self.hub.repositories[name].gated:
            raise _Refusal(403, 'GatedRepo', 'Access to it is restricted')
        if file not in files:
            raise _Refusal(404, 'EntryNotFound', 'Entry not found')
        content = files[file]
        size = self.hub.lies_of_size or len(content)
        self._send(200, content, size, X_Repo_Commit=commit, ETag=f'"{sha256(content).hexdigest()}"')

    def info(self, body: bytes, name: str, revision: str = 'main') -> None:
        commit, files = self._files(name, revision)
        self._json(dict(id=name, sha=commit, siblings=[dict(rfilename=file) for file in files]))

    def tree(self, body: bytes, name: str, revision: str) -> None:
        _, files = self._files(name, revision)
        self._json([dict(type='file', path=file, size=len(content), oid='') for file, content in files.items()])

    def preupload(self, body: bytes, name: str, revision: str) -> None:
        self._repository(name, write=True)
        modes = {True: 'lfs', False: 'regular'}
        paths = [found['path'] for found in json.loads(body)['files']]
        files = [dict(path=p, uploadMode=modes[p.endswith('.safetensors')], shouldIgnore=False) for p in paths]
        self._json(dict(files=files))

    def batch(self, body: bytes, name: str) -> None:
        self._repository(name, write=True)
        objects = [
            dict(oid=o['oid'], size=o['size'], actions=dict(upload=dict(href=f'{self.hub.url}/lfs/{o["oid"]}')))
            for o in json.loads(body)['objects']
        ]
        self._json(dict(transfer='basic', objects=objects))

    def upload(self, body: bytes, oid: str) -> None:
        assert sha256(body).hexdigest() == oid
        self.hub.blobs[oid] = body
        self._send(200, b'')

    def commit(self, body: bytes, name: str, revision: str) -> None:
        repository, files = self._repository(name, write=True), dict[str, bytes]()
        for part in map(json.loads, body.splitlines()):
            value = part['value']
            if part['key'] == 'file':
                files[value['path']] = base64.b64decode(value['content'])
            elif part['key'] == 'lfsFile':
                files[value['path']] = self.hub.blobs[value['oid']]
        oid = repository.commit(files, revision)
        self._json(dict(success=True, commitOid=oid, commitUrl=f'{self.hub.url}/{name}/commit/{oid}'))


_NAME = r'(?P<name>[^/]+/[^/]+)'
_ROUTES = [
    (r'POST /api/repos/create', _Handler.create),
    (r'POST /api/validate-yaml', _Handler.validate),
    (rf'GET /api/models/{_NAME}/tree/(?P<revision>[^/]+)/?', _Handler.tree),
    (rf'GET /api/models/{_NAME}/revision/(?P<revision>[^/]+)', _Handler.info),
    (rf'GET /api/models/{_NAME}', _Handler.info),
    (rf'POST /api/models/{_NAME}/preupload/(?P<revision>[^/]+)', _Handler.preupload),
    (rf'POST /api/models/{_NAME}/commit/(?P<revision>[^/]+)', _Handler.commit),
    (rf'POST /{_NAME}\.git/info/lfs/objects/batch', _Handler.batch),
    (r'PUT /lfs/(?P<oid>\w+)', _Handler.upload),
    (rf'(GET|HEAD) /{_NAME}/resolve/(?P<revision>[^/]+)/(?P<file>.+)', _Handler.resolve),
]


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that answers, at its ``url``."""
    hub = Hub()
    server = ThreadingHTTPServer(('127.0.0.1', 0), type('Handler', (_Handler,), dict(hub=hub)))
    hub.url = f'http://127.0.0.1:{server.server_port}'
    thread = Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def use(hub_url: str, cache: Any, monkeypatch: pytest.MonkeyPatch, token: str = '') -> None:
    """Let huggingface_hub, which has read its environment, ask this hub, and keep what it gets in ``cache``."""
    for name in ('HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN'):
        monkeypatch.delenv(name, raising=False)
    if token:
        monkeypatch.setenv('HF_TOKEN', token)
    monkeypatch.setattr(constants, 'ENDPOINT', hub_url)
    template = f'{hub_url}/{{repo_id}}/resolve/{{revision}}/{{filename}}'
    monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE', template)
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(cache))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', False)
    monkeypatch.setattr(constants, 'HF_TOKEN_PATH', f'{cache}/no_token')
    # Its uploads go through a library of its own to another server, unless this says no.
    monkeypatch.setattr(constants, 'HF_HUB_DISABLE_XET', True)
