"""Whatever a test leaves behind, the next one does not see it: so their order cannot matter."""

import os
import sys

import pytest
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmpretrain.visualization import UniversalVisualizer


@pytest.mark.parametrize('turn', [1, 2])
def test_nothing_is_left_of_the_other_turn(turn, tmp_path):
    assert DefaultScope.get_current_instance() is None
    assert not MMLogger.check_instance_created('left') and not MessageHub.check_instance_created('left')
    assert not UniversalVisualizer.check_instance_created('left')
    assert 'LEFT' not in os.environ and 'left' not in sys.path and os.getcwd() != str(tmp_path.parent)
    assert torch.get_num_threads() == 1 and torch.is_grad_enabled()
    assert torch.zeros(1).dtype == torch.float32 and torch.zeros(1).device.type == 'cpu'

    for manager in (MMLogger, MessageHub, UniversalVisualizer):
        manager.get_instance('left')
    DefaultScope.get_instance('left', scope_name='mmseg')
    os.environ['LEFT'] = 'here'
    sys.path.append('left')
    os.chdir(tmp_path.parent)
    torch.set_num_threads(2)
    torch.set_default_device('meta')
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)


@pytest.mark.parametrize('turn', [1, 2])
def test_each_draws_its_own_numbers(turn):
    """From the seed of the run and its own name, whatever seed another test has set."""
    found = torch.rand(1)
    torch.manual_seed(0)
    assert found != torch.rand(1)
    torch.manual_seed(0)
