"""Every test file can import what lies next to this one: ``networks``, ``runs``. Tests run in random order."""

import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest
import torch
from cheap_configs import make_configs_cheap
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from vptx.registry import MAPPINGS, NETS, PROMPTERS, TEXT_TOWERS

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)  # the networks are tiny, and two tests may run side by side
make_configs_cheap()
# Autograd counts GPUs at its first backward pass. Later than the first test that compiles, it would count one that is
# not there and start threads for it, and tests could not fork processes that train.
torch.zeros(1, requires_grad=True).backward()


def pytest_collection_finish() -> None:
    """What is there now stays: MMEngine collects garbage for every data set, and need not look through all modules."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """pytest-randomly seeds ``random`` and NumPy for each test; so is torch seeded, before any fixture is made."""
    torch.manual_seed((item.config.getoption('randomly_seed', 0) + crc32(item.nodeid.encode())) % 2**32)


@pytest.fixture(autouse=True)
def fresh_globals() -> Iterator[None]:
    """Let no test, nor a fixture of another module, see what a test left in MMEngine, in torch or in the process."""
    for registry in (PROMPTERS, NETS, MAPPINGS, TEXT_TOWERS):
        registry.import_from_location()
    environment, path, folder = dict(os.environ), list(sys.path), Path.cwd()
    listening = signal.getsignal(signal.SIGUSR1)
    registered = {registry: dict(registry.module_dict) for registry in (PROMPTERS, NETS, MAPPINGS, TEXT_TOWERS)}
    _reset()
    yield
    _reset()
    for registry, modules in registered.items():
        registry.module_dict.clear()
        registry.module_dict.update(modules)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = path
    os.chdir(folder)
    signal.signal(signal.SIGUSR1, listening)  # not to that of a run that an error ended


def _reset() -> None:
    for manager in (DefaultScope, MMLogger, MessageHub, *_with_subclasses(Visualizer)):
        manager._instance_dict.clear()
    torch.set_num_threads(1)
    torch.set_default_device(None)
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    torch.use_deterministic_algorithms(False)


def _with_subclasses(kind: type) -> list[type]:
    return [kind, *(found for child in kind.__subclasses__() for found in _with_subclasses(child))]


@pytest.fixture(scope='session')
def zygote():
    """One process that has imported everything, for all tests that start others."""
    from zygote import Zygote

    with Zygote() as process:
        yield process


@pytest.fixture(scope='session')
def start(zygote):
    """Starts a tool: ``start('train', config, '--resume', log=...)``."""
    return zygote.run


@pytest.fixture(scope='session')
def torchrun(zygote):
    """Starts a tool in several processes: ``torchrun(2, 'train', config, '--resume', log=...)``."""
    return zygote.torchrun
