"""What an optimizer and a schedule can go on from, and what is refused by name before they try."""

import math
from copy import deepcopy

import pytest
import torch
from mmengine.optim import CosineAnnealingLR, ReduceOnPlateauLR
from runs import differences

from vptx.optim.state import check_optimizer, check_schedule, keeps_state

KINDS = {
    'AdamW': dict(lr=0.1),
    'SGD': dict(lr=0.1),
    'SGD with momentum': dict(lr=0.1, momentum=0.9),
    'Adagrad': dict(lr=0.1),
    'RMSprop': dict(lr=0.1),
    'Adafactor': dict(),
}


def optimizer(kind: str = 'AdamW') -> torch.optim.Optimizer:
    """One that has made a step, of parameters of two, one and no dimensions."""
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(shape)) for shape in ((3, 4), (3,), ())]
    made = getattr(torch.optim, kind.split()[0])(
        [dict(params=parameters[:2]), dict(params=parameters[2:])], **KINDS[kind]
    )
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    made.step()
    return made


@pytest.mark.parametrize('kind', KINDS)
def test_an_optimizer_goes_on_from_its_own_state_and_is_left_as_it_was(kind):
    made = optimizer(kind)
    state, values = made.state_dict(), [p.detach().clone() for g in made.param_groups for p in g['params']]
    kept = deepcopy(state)
    check_optimizer(optimizer(kind), state, 'epoch_1.pth')
    check_optimizer(made, state, 'epoch_1.pth')
    assert not differences(state, kept)
    assert all(torch.equal(a, b) for a, b in zip(values, (p for g in made.param_groups for p in g['params'])))


def test_what_keeps_a_state():
    fresh = [torch.nn.Parameter(torch.ones(2))]
    assert keeps_state(torch.optim.AdamW(fresh)) and not keeps_state(torch.optim.SGD(fresh, lr=0.1))
    assert fresh[0].grad is None and torch.equal(fresh[0], torch.ones(2))


@pytest.mark.parametrize(
    ('where', 'value', 'message'),
    [
        (('param_groups', 1, 'lr'), 'fast', "lr is 'fast', expected such as 0.1"),
        (('param_groups', 0, 'lr'), math.nan, 'lr is nan'),
        (('param_groups', 0, 'lr'), -1.0, r'lr is -1\.0'),
        (('param_groups', 0, 'betas'), (0.9,), r'betas is \(0\.9,\)'),
        (('param_groups', 0, 'params'), [0], 'AdamW cannot go on from its state'),
        (('param_groups',), [], 'AdamW cannot go on from its state'),
        (('state', 0, 'exp_avg'), torch.zeros(5), 'AdamW cannot go on from its state'),
        (('state', 0, 'exp_avg'), None, 'AdamW cannot go on from its state'),
        (('state', 1, 'step'), 'three', 'AdamW cannot go on from its state'),
    ],
)
def test_a_state_that_no_step_can_be_made_from(where, value, message):
    state = holder = optimizer().state_dict()
    for part in where[:-1]:
        holder = holder[part]
    holder[where[-1]] = value
    with pytest.raises(ValueError, match=rf'^epoch_1\.pth cannot be resumed from: {message}'):
        check_optimizer(optimizer(), state, 'epoch_1.pth')


def test_a_schedule():
    schedule = CosineAnnealingLR(optimizer(), T_max=5)
    state = schedule.state_dict()
    check_schedule(schedule, state, 'epoch_1.pth')
    for value in ('two', math.nan, -2, [1]):
        with pytest.raises(ValueError, match=r'^epoch_1\.pth cannot be .* of CosineAnnealingLR, last_step is '):
            check_schedule(schedule, dict(state, last_step=value), 'epoch_1.pth')
    for found in ({}, [], None, dict(T_max=5)):
        with pytest.raises(ValueError, match='of CosineAnnealingLR, there is no last_step'):
            check_schedule(schedule, found, 'epoch_1.pth')


@pytest.mark.parametrize('best', [math.inf, 3.5, -2.0])
def test_the_best_of_a_plateau_may_be_any_number(best):
    schedule = ReduceOnPlateauLR(optimizer(), monitor='loss')
    check_schedule(schedule, dict(schedule.state_dict(), best=best), 'epoch_1.pth')
