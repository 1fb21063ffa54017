"""The server on Ray Serve: one front for HTTP, and replicas of the bank that answer it.

A batch is collected by count and by wait alone, whatever the tasks of its samples. The task is in the request and never
a model id of Serve, which would part batches by it. All replicas read one folder of prompt files, so that a task that
is added, replaced or removed by one of them is so for all. What a replica was at when it died is asked of another one.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from vptx.serve.app import Full, Limits, make_app
from vptx.serve.bank import NAME, SUFFIX
from vptx.serve.engine import Answer, Engine, Failure

__all__ = ['Settings', 'application']

#: Seconds in which another replica is looked for after one has died. Ray needs a minute to notice a lost machine.
PATIENCE = 60.0
#: Seconds in which every replica says its figures.
METRICS = 5.0


@dataclass(frozen=True)
class Settings:
    """Of a server.

    Attributes:
        config: the text of a config, as ``Config.dump`` writes it.
        folder: of the prompt files, which all replicas see.
        slots: tasks that are ready at a time, of each replica.
        device: such as ``'cuda'``.
        batch: the most samples of a batch.
        wait: seconds that a batch waits for more samples.
        replicas: of the bank.
        threads: of each replica.
        top: the most classes of an answer.
        token: ``token_hash`` of what changes need.
        limits: what is taken.
    """

    config: str
    folder: str
    slots: int = 64
    device: str = 'cpu'
    batch: int = 32
    wait: float = 0.01
    replicas: int = 1
    threads: int = 1
    top: int = 1000
    token: str | None = None
    limits: Limits = field(default_factory=Limits)


def read(settings: Settings) -> Any:
    """Its config, with the modules that it asks for imported."""
    from mmengine.config import Config
    from mmengine.utils import import_modules_from_strings

    config = Config.fromstring(settings.config, '.py')
    if config.get('custom_imports'):
        import_modules_from_strings(**config.custom_imports)
    return config


@serve.deployment(name='Replica', max_ongoing_requests=1024)
class Replica:
    """A bank with its own process.

    Args:
        settings: of the server.
    """

    def __init__(self, settings: Settings) -> None:
        import torch

        torch.set_num_threads(settings.threads)
        self.settings = settings
        self.engine = Engine(read(settings), settings.folder, settings.slots, settings.device)
        self.batched.set_max_batch_size(settings.batch)
        self.batched.set_batch_wait_timeout_s(settings.wait)

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.01)
    async def batched(self, items: list[tuple[Any, str]]) -> list[Answer | Failure]:
        return await asyncio.to_thread(self.engine.predict, items, self.settings.top)

    async def predict(self, images: Sequence[Any], pairs: Sequence[tuple[int, str]]) -> list[Answer | Failure]:
        return await asyncio.gather(*[self.batched((images[index], name)) for index, name in pairs])

    async def attention(self, image: Any, name: str) -> dict | Failure:
        return await asyncio.to_thread(self.engine.attention, image, name)

    async def add(self, name: str, content: bytes) -> dict | Failure:
        return await asyncio.to_thread(self.engine.add, name, content)

    async def describe(self, name: str) -> dict | Failure:
        return await asyncio.to_thread(self.engine.describe, name)

    async def facts(self) -> dict:
        facts = await asyncio.to_thread(self.engine.facts)  # it may wait for a task that is being read
        return dict(facts, replica=serve.get_replica_context().replica_id.unique_id)


class _Replicas:
    """The backend of the front: any of the replicas."""

    def __init__(self, handle: Any, folder: Path) -> None:
        self.handle, self.folder = handle, folder

    async def _ask(self, method: str, *arguments: Any) -> Any:
        """One of them; another one if it dies. Each method can be repeated: the second time it changes nothing."""
        end, pause = None, 0.1
        while True:
            try:
                return await getattr(self.handle, method).remote(*arguments)
            except BackPressureError as error:
                raise Full from error
            except (RayActorError, DeploymentUnavailableError):
                end = end or time.monotonic() + PATIENCE
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(pause)
                pause = min(2 * pause, 2.0)

    async def predict(self, images: Sequence[Any], pairs: Sequence[tuple[int, str]]) -> list[Answer | Failure]:
        return await self._ask('predict', images, pairs)

    async def attention(self, image: Any, name: str) -> dict | Failure:
        return await self._ask('attention', image, name)

    async def add(self, name: str, content: bytes) -> dict | Failure:
        return await self._ask('add', name, content)

    async def describe(self, name: str) -> dict | Failure:
        return await self._ask('describe', name)

    async def facts(self) -> dict:
        return await self._ask('facts')

    async def replicas(self) -> dict[str, dict]:
        asked = self.handle.broadcast('facts')
        try:
            answers = await asked.results_async(timeout_s=METRICS, return_exceptions=True)
        except (TimeoutError, DeploymentUnavailableError):
            return {}
        return {facts['replica']: facts for facts in answers if not isinstance(facts, BaseException)}

    async def names(self) -> Sequence[str]:
        return sorted(path.stem for path in self.folder.glob(f'*{SUFFIX}') if NAME.fullmatch(path.stem))

    async def has(self, name: str) -> bool:
        return (self.folder / f'{name}{SUFFIX}').is_file()

    async def remove(self, name: str) -> Failure | None:
        try:
            (self.folder / f'{name}{SUFFIX}').unlink()
        except FileNotFoundError:
            return Failure(404, f'there is no task {name!r}')
        return None


@serve.deployment(name='Front', max_ongoing_requests=4096)
@serve.ingress()
class Front:
    """HTTP, limits, decoding."""

    async def __init__(self, replicas: Any, settings: Settings) -> None:
        from vptx.serve.pictures import Pictures

        facts = await replicas.facts.remote()
        self.asgi = make_app(
            _Replicas(replicas, Path(settings.folder)),
            Pictures(read(settings), tuple(facts['size']), settings.limits.pixels),
            settings.limits,
            settings.token,
            serve.get_replica_context().replica_id.unique_id,
        )

    def __serve_build_asgi_app__(self) -> Any:
        return self.asgi


def application(settings: Settings) -> serve.Application:
    """What ``serve.run`` takes, on one machine or on a cluster.

    Raises:
        ValueError: no replicas.
    """
    if settings.replicas < 1:
        raise ValueError(f'replicas must be a whole number of at least 1, not {settings.replicas}')
    Path(settings.folder).mkdir(parents=True, exist_ok=True)
    gpus = 1 if settings.device.startswith('cuda') else 0
    replica = Replica.options(
        num_replicas=settings.replicas,
        max_queued_requests=settings.limits.queue,
        ray_actor_options=dict(num_cpus=settings.threads, num_gpus=gpus),
    )
    # On the machine without which there is no cluster, as is Serve's controller.
    front = Front.options(ray_actor_options=dict(num_cpus=0, resources={'node:__internal_head__': 0.001}))
    return front.bind(replica.bind(settings), settings)
