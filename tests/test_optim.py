import pytest
import torch
from mmengine.optim import DefaultOptimWrapperConstructor, build_optim_wrapper
from networks import images, tiny
from torch import nn

import vptx
from vptx.optim import BFloat16OptimWrapper, TrainableOnlyOptimWrapperConstructor

ONLY = 'TrainableOnlyOptimWrapperConstructor'


def model() -> nn.Module:
    return vptx.attach(tiny(), dict(type='DeepPrompter', num_tokens=3), tune=['head'])


def held(wrapper) -> list[int]:
    return [id(p) for group in wrapper.param_groups for p in group['params'] if p.requires_grad]


@pytest.mark.parametrize('paramwise', [None, dict(bias_decay_mult=0.0), dict(custom_keys={'head': dict(lr_mult=2.0)})])
def test_it_is_the_default_constructor_of_what_trains(paramwise):
    """Group for group what MMEngine would make of a model that had these parameters only."""
    made = model()
    config = dict(optimizer=dict(type='SGD', lr=0.1, weight_decay=0.1), paramwise_cfg=paramwise)
    wrapper = build_optim_wrapper(made, dict(config, constructor=ONLY))
    expected = [id(p) for p in made.parameters() if p.requires_grad]
    assert sorted(held(wrapper)) == sorted(expected)
    every = DefaultOptimWrapperConstructor(dict(optimizer=config['optimizer']), paramwise)(made)
    rates = {id(p): (g['lr'], g['weight_decay']) for g in every.param_groups for p in g['params']}
    for group in wrapper.param_groups:
        for parameter in group['params']:
            if id(parameter) in expected:
                assert rates[id(parameter)] == (group['lr'], group['weight_decay'])


def test_the_model_is_left_as_it_was():
    made = model()
    names = [name for name, _ in made.named_parameters()]
    build_optim_wrapper(made, dict(constructor=ONLY, optimizer=dict(type='SGD', lr=0.1)))
    assert [name for name, _ in made.named_parameters()] == names
    assert made(images()).shape == (2, 7)


def test_the_model_is_left_as_it_was_after_an_error():
    made = model()
    names = [name for name, _ in made.named_parameters()]
    with pytest.raises(TypeError):
        build_optim_wrapper(made, dict(constructor=ONLY, optimizer=dict(type='NoSuchOptimizer', lr=0.1)))
    assert [name for name, _ in made.named_parameters()] == names


def test_nothing_that_trains():
    with pytest.raises(ValueError, match='empty parameter list'):
        TrainableOnlyOptimWrapperConstructor(dict(optimizer=dict(type='SGD', lr=0.1)))(vptx.attach(tiny()))


def test_half_precision_on_a_cpu_computes_in_half_and_keeps_full_parameters():
    made = model().train()
    optimizer = torch.optim.SGD([p for p in made.parameters() if p.requires_grad], lr=0.1)
    wrapper = BFloat16OptimWrapper(optimizer)
    before = made.prompter.embedding.rows[0].detach().clone()
    with wrapper.optim_context(made):
        output = made(images())
    assert output.dtype == torch.bfloat16
    wrapper.update_params(output.float().square().mean())
    assert made.prompter.embedding.rows[0].dtype == torch.float32
    assert not torch.equal(made.prompter.embedding.rows[0], before)
    assert made(images()).dtype == torch.float32  # outside of the context
