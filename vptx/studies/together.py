"""Many tasks trained side by side over one frozen network.

Each task has its own Runner, with its own data, optimizer, schedule, hooks and files, as when it trains alone. Where a
Runner would run the frozen network on its batch, it waits for the others: the batches go through the network as one (on
a CPU as several, of a size that fits its cache), in which each sample has the prompts of its task, and so do their
gradients in the backward pass. A task learns what it would have learnt alone, to rounding; dropout of prompts draws
other masks.

Runners have threads of their own and take turns, so that one is at work at a time. What MMEngine and the libraries keep
for the whole process, random numbers among it, is exchanged at every turn.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from threading import Semaphore, Thread
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import Tensor

from vptx.attach import find_prompted_network
from vptx.configs import make_runner
from vptx.prompted import PromptedNetwork, parts_of
from vptx.prompters.mixed import check_mixed
from vptx.readout import OWN
from vptx.serve.frozen import FrozenNetwork
from vptx.serve.task import Kind, kind_of
from vptx.trainable import unwrap_model

__all__ = ['train_together']


class _Member(Thread):
    """A Runner that trains in its turns."""

    def __init__(self, name: str, config: Config) -> None:
        super().__init__(name=name, daemon=True)
        config = Config(config.to_dict())
        config.launcher = 'none'
        config.experiment_name = f'{name}_{id(self)}'  # MMEngine keeps loggers by this name
        self.go, self.stopped = Semaphore(0), Semaphore(0)
        self.error: BaseException | None = None
        self.asked: tuple[str, Any] | None = None
        self.answer: Any = None
        self.network: PromptedNetwork | None = None
        self.kind: Kind | None = None
        self.feature: Tensor | None = None
        self.runner = make_runner(config)
        self.runner.register_hook(_TogetherHook(self), priority='LOWEST')
        self.state = _random_state()

    def run(self) -> None:
        self.go.acquire()
        try:
            self.runner.train()
        except BaseException as error:
            self.error = error
        self.asked = None
        self.stopped.release()

    def turn(self) -> None:
        """Let it work until it waits for the others, or has come to its end."""
        before = _random_state()
        _set_random_state(self.state)
        name = self.runner.experiment_name
        for manager in (MMLogger, MessageHub, DefaultScope, *_with_subclasses(Visualizer)):
            if name in manager._instance_dict:
                manager._instance_dict[name] = manager._instance_dict.pop(name)  # the current one is the last
        self.go.release()
        self.stopped.acquire()
        self.state = _random_state()
        _set_random_state(before)

    def wait(self, what: str, value: Any) -> Any:
        """In its thread: what the others and this one have made together."""
        self.asked = what, value
        self.stopped.release()
        self.go.acquire()
        answer, self.answer = self.answer, None
        return answer

    # In place of the network's own forward, and of the optimizer's backward pass.

    def forward(self, own: Callable, image: Tensor, note: Any = None) -> Any:
        if not torch.is_grad_enabled() or not self.network or not self.network.training:
            return own(image, note)
        feature = self.wait('forward', image)
        self.feature = feature.requires_grad_()
        return parts_of(self.feature)

    def backward(self, own: Callable, loss: Tensor, **options: Any) -> None:
        own(loss, **options)
        if self.feature is None:
            return
        gradient, self.feature = self.feature.grad, None
        found = zip(self.prompts, self.wait('backward', gradient), strict=True)
        reached = [(parameter, part) for parameter, part in found if part is not None]
        if reached:  # as autograd does it: hooks of parameters are called
            torch.autograd.backward([parameter for parameter, _ in reached], [part for _, part in reached])

    @property
    def prompts(self) -> list[torch.nn.Parameter]:
        assert self.network is not None
        return [parameter for parameter in self.network.prompter.parameters() if parameter.requires_grad]


class _TogetherHook(Hook):
    """Leads the forward and the backward pass of a Runner's training to the others."""

    def __init__(self, member: _Member) -> None:
        self.member = member

    def before_train(self, runner: Runner) -> None:
        network = find_prompted_network(unwrap_model(runner.model))
        _check(self.member.name, network, runner)
        assert network is not None
        self.member.network, self.member.kind = network, kind_of(network)
        self.member.wait('start', None)
        network.forward = partial(self.member.forward, network.forward)  # type: ignore[method-assign]
        runner.optim_wrapper.backward = partial(self.member.backward, runner.optim_wrapper.backward)

    def after_train(self, runner: Runner) -> None:
        assert self.member.network is not None
        del self.member.network.forward
        del runner.optim_wrapper.backward


def _check(name: str, network: PromptedNetwork | None, runner: Runner) -> None:
    """Refuse what cannot share a forward.

    Raises:
        ValueError: begins with the name of the task.
    """
    if network is None:
        raise ValueError(f'{name} has no prompted network: its config needs a PromptTuningHook')
    own = [n for n, p in network.named_parameters() if p.requires_grad and not n.startswith('prompter.')]
    if own:
        raise ValueError(f'{name} trains {", ".join(own[:3])} inside the network that all tasks share')
    if network.readout == OWN or network.mapping.num_classes:
        raise ValueError(f"{name} reads the network's own logits: only features, such as readout='cls', are shared")
    if hasattr(runner.model, 'module'):
        raise ValueError(f'{name}: tasks that train together do so in one process')
    check_mixed(network.prompter)


def train_together(configs: Mapping[str, Config], say: Callable[[str], Any] = lambda line: None) -> dict[str, Runner]:
    """Train tasks side by side over one frozen network.

    Args:
        configs: of each task, by its name; each has a ``work_dir`` of its own.
        say: takes a line for each task that has come to its end.

    Returns:
        The Runner of each, trained.

    Raises:
        ValueError: no task; tasks of other frozen weights, or that train more of the network than prompts.
    """
    if not configs:
        raise ValueError('there is no task to train')
    members = [_Member(name, config) for name, config in configs.items()]
    with _all(members):
        frozen = _share(members)
        while active := [member for member in members if member.asked]:
            kinds = {member.asked[0] for member in active if member.asked}
            # Gradients go back before new batches come.
            what = 'backward' if 'backward' in kinds else 'forward'
            meeting = [member for member in active if member.asked and member.asked[0] == what]
            if what == 'forward':
                graphs = _forward(frozen, meeting)
            else:
                _backward(graphs, meeting)
            for member in meeting:
                member.turn()
                _raise(member)
                if not member.asked:
                    say(member.name)
    return {member.name: member.runner for member in members}


@contextmanager
def _all(members: Sequence[_Member]) -> Iterator[None]:
    """Start all of them, each up to its first batch."""
    for member in members:
        member.start()
        member.turn()
        _raise(member)
    yield


def _raise(member: _Member) -> None:
    if member.error is not None:
        raise member.error


def _share(members: Sequence[_Member]) -> FrozenNetwork:
    """One network for all, whose weights are the first one's; each begins with its first batch.

    Raises:
        ValueError: others are not equal.
    """
    first = members[0]
    assert first.network is not None
    weights = first.network.net.state_dict(keep_vars=True)
    for member in members[1:]:
        assert member.network is not None
        own = member.network.net.state_dict(keep_vars=True)
        differs = [n for n, t in weights.items() if n not in own or not torch.equal(t, own[n])]
        if differs or own.keys() != weights.keys() or member.network.readout != first.network.readout:
            raise ValueError(
                f'{member.name} has another frozen network than {first.name} ({(differs or ["readout"])[0]})'
            )
        for name, tensor in own.items():
            tensor.data = weights[name].data
    frozen = FrozenNetwork(first.network)
    for member in members:
        member.turn()
        _raise(member)
    return frozen


#: Bytes of the tokens of a pass through the network on a CPU, unless one batch has more. Larger tensors leave the cache
#: of a core, and the largest are asked of the system each time: a batch of 200 images takes longer than five of 40.
NEAR = 2 * 2**20

#: The features of each pass through the network, with whose they are.
_Graphs = list[tuple[Tensor, list[tuple[_Member, slice]]]]


def _forward(frozen: FrozenNetwork, members: Sequence[_Member]) -> _Graphs:
    graphs: _Graphs = []
    for found in _passes(frozen, members):
        images, note, parts, start = list[Tensor](), list[Any](), list[tuple[_Member, slice]](), 0
        for member in found:
            assert member.asked is not None and member.network is not None
            images.append(member.asked[1])
            note += [member.network.prompter] * len(images[-1])
            parts.append((member, slice(start, start + len(images[-1]))))
            start += len(images[-1])
        kind = found[0].kind
        assert kind is not None
        feature = frozen.features(torch.cat(images), kind, note)
        graphs.append((feature, parts))
        for member, rows in parts:
            member.answer = feature[rows].detach()
    return graphs


def _passes(frozen: FrozenNetwork, members: Sequence[_Member]) -> Iterator[list[_Member]]:
    """Whose batches go through the network as one: all of a kind, on a CPU as many as ``NEAR`` says."""
    facts, probe = frozen.net.geometry, next(frozen.net.parameters())
    width = max(facts.length(layer) * width for layer, width in enumerate(facts.widths)) * probe.element_size()
    for kind in dict.fromkeys(member.kind for member in members):
        found, size = list[_Member](), 0
        for member in members:
            if member.kind != kind or member.asked is None:
                continue
            more = len(member.asked[1]) * width
            if found and probe.device.type == 'cpu' and size + more > NEAR:
                yield found
                found, size = [], 0
            found.append(member)
            size += more
        yield found


def _backward(graphs: _Graphs, members: Sequence[_Member]) -> None:
    for feature, parts in graphs:
        wanted = [(member, parameter) for member, _ in parts if member in members for parameter in member.prompts]
        gradient = torch.zeros_like(feature)
        for member, rows in parts:
            if member in members and member.asked is not None and member.asked[1] is not None:
                gradient[rows] = member.asked[1]
        found: Sequence[Tensor | None] = ()
        if wanted:
            found = torch.autograd.grad(feature, [parameter for _, parameter in wanted], gradient, allow_unused=True)
        for member, _ in parts:
            member.answer = [part for (owner, _), part in zip(wanted, found, strict=True) if owner is member]


def _random_state() -> tuple:
    return torch.get_rng_state(), np.random.get_state(), random.getstate()


def _set_random_state(state: tuple) -> None:
    torch.set_rng_state(state[0])
    np.random.set_state(state[1])
    random.setstate(state[2])


def _with_subclasses(kind: type) -> list[type]:
    children: list[type] = kind.__subclasses__()
    return [kind, *(found for child in children for found in _with_subclasses(child))]
