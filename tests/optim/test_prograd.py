"""ProGrad: the part of a gradient that goes against what is known is taken out, and nothing else."""

import pytest
import runs
import torch
from clips import changes
from mmengine.model import BaseModel
from torch import Tensor, nn

from vptx.optim import ProGradOptimWrapper, project_gradients
from vptx.registry import OPTIM_WRAPPERS

CONTEXT = dict(type='ContextPrompter', num_tokens=2, words='a photo of a')
PULLS = [dict(type='LogitPull')]


def along(gradients: list[Tensor], guides: list[Tensor]) -> float:
    return sum((g * k).sum() for g, k in zip(gradients, guides, strict=True)).item()


@pytest.fixture
def vectors():
    """As of two tensors: g and k, with g.k < 0."""
    g, k = ([torch.randn(3, 4, dtype=torch.double), torch.randn(5, dtype=torch.double)] for _ in range(2))
    sign = -1 if along(g, k) > 0 else 1
    return g, [sign * part for part in k]


def test_what_goes_against_it_is_taken_out(vectors):
    g, k = vectors
    before = along(g, k)
    half = [part.clone() for part in g]
    project_gradients(half, k, strength=0.5)
    assert along(half, k) == pytest.approx(before / 2)
    project_gradients(g, k)
    assert along(g, k) == pytest.approx(0, abs=1e-12)


def test_what_agrees_or_has_no_guide_stays_to_the_bit(vectors):
    g, k = vectors
    for guides in ([-part for part in k], [torch.zeros_like(part) for part in k]):
        ours = [part.clone() for part in g]
        project_gradients(ours, guides)
        assert all(torch.equal(a, b) for a, b in zip(ours, g, strict=True))


class Noted(ProGradOptimWrapper):
    """Notes the gradients before and after."""

    def step(self, **options):
        (parameter,) = self.optimizer.param_groups[0]['params']
        self.before, self.guide = parameter.grad.clone(), self._guides[0].clone()
        super().step(**options)
        self.seen = getattr(self, 'seen', [])
        self.seen.append((self.before, self.guide, parameter.grad.clone()))


OPTIM_WRAPPERS.register_module(module=Noted, force=True)


def wrapper(kind: str, **options) -> dict:
    return dict(_delete_=True, type=kind, optimizer=dict(type='SGD', lr=0.5), **options)


def test_a_run_takes_projected_steps(tmp_path):
    run = runs.runner(tmp_path, **changes(CONTEXT, pulls=PULLS), optim_wrapper=wrapper('Noted'))
    run.train()
    seen = run.optim_wrapper.seen
    assert len(seen) == 6
    for before, guide, after in seen:
        against = (before * guide).sum() < 0
        expected = before - (before * guide).sum() / guide.square().sum() * guide if against else before
        torch.testing.assert_close(after, expected, rtol=1e-5, atol=1e-7)
    assert seen[0][0].any() and seen[1][1].any()


def test_gradients_are_those_of_the_task_and_of_the_guide():
    """Of the cross entropy alone, to the bit, and of the pull alone."""
    torch.manual_seed(0)
    model = Toy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    optim_wrapper = Noted(optimizer)
    with optim_wrapper.optim_context(model):
        losses = model()
    optim_wrapper.update_params(model.parse_losses(losses)[0])
    ((before, guide, _),) = optim_wrapper.seen
    for name, found in (('loss', before), ('mapping.loss_LogitPull', guide)):
        (expected,) = torch.autograd.grad(model()[name], list(model.parameters()))
        assert torch.equal(found, expected)


class Toy(BaseModel):
    """A model with two losses of one vector."""

    def __init__(self):
        super().__init__()
        self.vector = nn.Parameter(torch.randn(4))

    def forward(self):
        return {'loss': self.vector.square().sum(), 'mapping.loss_LogitPull': self.vector.sin().sum()}


def test_without_a_guide_it_says_what_is_missing(tmp_path):
    run = runs.runner(tmp_path, **changes(CONTEXT), optim_wrapper=wrapper('ProGradOptimWrapper'))
    with pytest.raises(ValueError, match='and there are none: mapping='):
        run.train()


def test_options_that_cannot_be_meant():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1)
    with pytest.raises(ValueError, match='strength must be from 0 to 1, not 2'):
        ProGradOptimWrapper(optimizer, strength=2)
    with pytest.raises(ValueError, match='a step for each batch'):
        ProGradOptimWrapper(optimizer, accumulative_counts=2)
