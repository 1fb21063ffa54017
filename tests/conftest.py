"""Every test file can import what lies beside this one: ``networks``, ``runs``."""

import sys
from pathlib import Path

import pytest
import torch
import yapf.yapflib.yapf_api  # noqa: F401  writes a cache when first imported: once, before workers do it side by side

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)  # the networks are tiny, and two tests may run side by side


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
