import pytest
import torch
from mmengine.optim import DefaultOptimWrapperConstructor, build_optim_wrapper
from networks import images, tiny
from runs import differences, hook, load, newest, runner
from torch import nn

import vptx
from vptx.optim import (
    BFloat16OptimWrapper,
    CMAOptimWrapper,
    NormalizedGradOptimWrapper,
    SPSAOptimWrapper,
    TrainableOnlyOptimWrapperConstructor,
)

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


# EVP


def test_steps_are_as_long_as_the_learning_rate():
    parameters = [nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.randn(5))]
    before = [p.detach().clone() for p in parameters]
    wrapper = NormalizedGradOptimWrapper(torch.optim.SGD(parameters, lr=7.0))
    loss = sum((p * p.detach().sign()).sum() * (i + 1) for i, p in enumerate(parameters))
    wrapper.update_params(loss)
    steps = [b - p.detach() for b, p in zip(before, parameters)]
    assert torch.cat([step.flatten() for step in steps]).norm().item() == pytest.approx(7, rel=1e-5)
    # In the direction of the gradient of both together.
    torch.testing.assert_close(steps[0] / before[0].sign(), steps[1][0] / before[1][0].sign() / 2 * torch.ones(3, 4))


def test_a_gradient_of_zero_is_no_step():
    parameter = nn.Parameter(torch.ones(2))
    NormalizedGradOptimWrapper(torch.optim.SGD([parameter], lr=7.0)).update_params((0 * parameter).sum())
    assert torch.equal(parameter, torch.ones(2))


# BlackVIP


class Bowl(nn.Module):
    """A loss whose gradient is known: |A w|^2 / 2."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))
        self.calls = 0

    def forward(self, matrix, mode='loss'):
        self.calls += 1
        return dict(loss=(matrix @ self.weight).square().sum() / 2)

    def parse_losses(self, losses):
        return losses['loss'], losses


def stepped(wrapper: SPSAOptimWrapper, bowl: Bowl, matrix: torch.Tensor) -> None:
    with wrapper.optim_context(bowl):
        loss = bowl(matrix, mode='loss')['loss']
    wrapper.update_params(loss)


def test_the_estimate_is_the_gradient_on_average_and_costs_the_calls_it_says():
    torch.manual_seed(0)
    bowl, matrix = Bowl(), torch.randn(3, 3)
    start = bowl.weight.detach().clone()
    wrapper = SPSAOptimWrapper(torch.optim.SGD(bowl.parameters(), lr=1.0), samples=4000)
    stepped(wrapper, bowl, matrix)
    assert bowl.calls == 1 + 2 * 4000
    gradient = matrix.T @ matrix @ start
    torch.testing.assert_close(start - bowl.weight.detach(), gradient, atol=0.15 * gradient.norm().item(), rtol=0)
    with pytest.raises(ValueError, match='c must be positive'):
        SPSAOptimWrapper(torch.optim.SGD(bowl.parameters(), lr=1.0), c=0)


def test_gradient_correction_is_the_equation():
    """m <- beta m + g, w <- w - a (g + beta m), worked out beside it with the same directions."""
    matrix, beta, lr = torch.eye(3), 0.9, 0.1
    bowl = Bowl()
    wrapper = SPSAOptimWrapper(
        torch.optim.SGD(bowl.parameters(), lr=lr, momentum=beta, nesterov=True), c=0.1, gamma=0.2
    )
    weight, memory = bowl.weight.detach().clone(), torch.zeros(3)
    for step in range(3):
        torch.manual_seed(step)
        size = 0.5 + 0.5 * torch.rand(3)
        direction = torch.where(torch.rand(3) < 0.5, -size, size)
        reach = 0.1 / (step + 1) ** 0.2
        plus, minus = ((weight + sign * reach * direction).square().sum() / 2 for sign in (1, -1))
        estimate = (plus - minus) / (2 * reach) / direction
        memory = beta * memory + estimate
        weight = weight - lr * (estimate + beta * memory)
        torch.manual_seed(step)
        stepped(wrapper, bowl, matrix)
        torch.testing.assert_close(bowl.weight.detach(), weight, atol=1e-4, rtol=1e-4)


BLACK_BOX = dict(
    optim_wrapper=dict(
        type='SPSAOptimWrapper', c=0.05, samples=2, optimizer=dict(type='SGD', lr=0.05, momentum=0.9, nesterov=True)
    ),
    param_scheduler=[dict(type='InversePowerLR', by_epoch=False, end=100, power=0.4, offset=2.0)],
)


def black_box(folder, **changes):
    config = {**BLACK_BOX, 'hooks': [hook(dict(type='LowRankPrompter', rank=1), tune=['head'])], **changes}
    return runner(folder, **config)


def test_a_run_learns_without_a_backward_pass(tmp_path, monkeypatch):
    def never(*_, **__):
        raise AssertionError('a backward pass')

    monkeypatch.setattr(torch.Tensor, 'backward', never)
    monkeypatch.setattr(torch.autograd, 'backward', never)
    monkeypatch.setattr(torch.autograd, 'grad', never)
    run = black_box(tmp_path)
    graphs = []
    run.model.backbone.register_forward_hook(lambda _, __, output: graphs.append(output[0].requires_grad))
    run.train()
    assert graphs and not any(graphs)
    assert run.model.backbone.prompter.left.any()
    assert run.optim_wrapper.steps == 6
    assert run.optim_wrapper.get_lr()['lr'][0] == pytest.approx(0.05 / (6 + 2) ** 0.4)
    rest = black_box(tmp_path, resume=True, **{'train_cfg.max_epochs': 4})
    monkeypatch.undo()
    rest.train()
    straight = black_box(tmp_path / 'straight', **{'train_cfg.max_epochs': 4})
    straight.train()
    ours, theirs = (load(newest(folder)) for folder in (tmp_path, tmp_path / 'straight'))
    assert rest.optim_wrapper.steps == 12
    assert not differences(ours['state_dict'], theirs['state_dict'])


class Drawn(nn.Module):
    """A model whose loss depends on what it draws more than on its parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.draws: list[float] = []

    def forward(self) -> dict:
        self.draws.append(torch.rand(()).item())
        return dict(loss=100 * self.draws[-1] + 3 * self.weight.sum())

    def parse_losses(self, losses: dict) -> tuple:
        return losses['loss'], losses


def test_both_sides_of_spsa_draw_alike():
    model = Drawn()
    wrapper = SPSAOptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0), samples=2)
    with wrapper.optim_context(model):
        loss = model()['loss']
    wrapper.update_params(loss)
    _, up, down, again_up, again_down = model.draws
    assert (up, again_up) == (down, again_down)
    assert up != again_up  # each estimate draws anew
    assert model.weight.item() == pytest.approx(-3, abs=1e-2)


def test_loading_leaves_the_callers_state_as_it_is():
    wrapper = SPSAOptimWrapper(torch.optim.SGD(Drawn().parameters(), lr=1.0))
    wrapper.steps = 5
    state = wrapper.state_dict()
    for _ in range(2):
        wrapper.steps = 0
        wrapper.load_state_dict(state)
        assert wrapper.steps == 5
    assert 'spsa_steps' in state


def test_cma_finds_the_lowest_point_from_losses_alone():
    bowl, matrix = Bowl(), torch.diag(torch.tensor([1.0, 3.0, 0.3]))
    wrapper = CMAOptimWrapper(torch.optim.SGD(bowl.parameters(), lr=1.0), sigma=0.5, population=8)
    for _ in range(60):
        stepped(wrapper, bowl, matrix)
    assert bowl.calls == 60 * (1 + 8)
    assert bowl.weight.detach().abs().max() < 1e-3


def test_a_batch_goes_on_with_the_best_of_its_population():
    bowl, matrix, found = Bowl(), torch.eye(3), []
    bowl.register_forward_hook(lambda _, __, output: found.append(output['loss'].item()))
    wrapper = CMAOptimWrapper(torch.optim.SGD(bowl.parameters(), lr=1.0), population=6)
    stepped(wrapper, bowl, matrix)
    assert bowl(matrix)['loss'].item() == min(found[1:7])
    first = found[-1]
    stepped(wrapper, bowl, matrix)
    assert found[9] == pytest.approx(first)  # the best one of before is among the next
    with pytest.raises(ValueError, match='sigma must be positive and population at least 4, not 0 and 28'):
        CMAOptimWrapper(torch.optim.SGD(bowl.parameters(), lr=1.0), sigma=0)
    wrapper = CMAOptimWrapper(torch.optim.SGD(nn.Linear(30_000, 1, bias=False).parameters(), lr=1.0))
    with pytest.raises(ValueError, match=r'30,000 numbers train, and a covariance matrix is for 2 to 20,000'):
        wrapper.update_params(torch.zeros(()))


def test_a_run_by_cma_goes_on_where_it_was(tmp_path):
    cma = dict(type='CMAOptimWrapper', population=4, optimizer=dict(type='SGD', lr=0.1))
    shallow = [hook(dict(type='ShallowPrompter', num_tokens=1), tune=[])]
    config = dict(optim_wrapper=cma, hooks=shallow, param_scheduler=[])
    run = runner(tmp_path, **config)
    run.train()
    rest = runner(tmp_path, resume=True, **{**config, 'train_cfg.max_epochs': 4})
    rest.train()
    straight = runner(tmp_path / 'straight', **{**config, 'train_cfg.max_epochs': 4})
    straight.train()
    ours, theirs = (load(newest(folder)) for folder in (tmp_path, tmp_path / 'straight'))
    assert not differences(ours['state_dict'], theirs['state_dict'])
