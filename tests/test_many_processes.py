"""Several processes learn what one learns, count and evaluate every image once, and survive one another's death.

All but one of them are forked by torchrun from a process that has imported everything.
"""

import os
import re
import subprocess
import sys
import time

import pytest
import torch
from runs import differences, environment, hook, load, loader, net, newest, runner, write_config, write_weights

from vptx.prompt_file import read_prompt

KEPT = ('state_dict', 'optimizer', 'param_schedulers')
DEEP = hook(dict(type='DeepPrompter', num_tokens=3))


def trained(folder):
    return load(newest(folder))['state_dict']


@pytest.fixture
def together(tmp_path, torchrun):
    """Trains a config by several processes, in a folder; returns what they say."""

    def run(folder: str, *arguments: str, processes: int = 2, fails: bool = False, restarts: int = 0, **changes) -> str:
        config = write_config(tmp_path / f'{folder}.py', tmp_path / folder, **changes)
        log = tmp_path / f'{folder}.log'
        status, output = torchrun(processes, 'train', config, *arguments, restarts=restarts, log=log)
        assert (status != 0) is fails, output
        return output

    return run


def batch(size: int, **dataset) -> dict:
    return {**loader(True, **dataset), 'batch_size': size}


def close(ours, theirs):
    """Equal to rounding."""
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-4, atol=1e-5, msg=lambda text, name=name: name + text)


@pytest.fixture
def weights(tmp_path):
    """Those of a network that reads nine classes of its own: random, the same for all."""
    return str(write_weights(tmp_path / 'weights.pth', num_classes=9))


@pytest.mark.parametrize('pool', ['mean', 'sample'])
def test_two_learn_what_one_learns_from_the_same_batches(tmp_path, together, weights, pool):
    """From prompts that start from the images of both."""
    changes = {
        'hooks': [DEEP, dict(type='PromptInitHook', pool=pool, batches=2)],
        'model.backbone.net': net(weights=weights),
        'optim_wrapper.optimizer': dict(type='SGD', lr=0.1, momentum=0.9),
    }
    runner(tmp_path / 'one', train_dataloader=batch(12), **changes).train()
    together('two', train_dataloader=batch(6), **changes)
    close(trained(tmp_path / 'two'), trained(tmp_path / 'one'))
