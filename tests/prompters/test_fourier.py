"""Fourier prompts: what their transform is, and that half of it never acts."""

import pytest
import torch
from exact import exact, frozen, pictures, same
from networks import WIDTH

import vptx
from vptx.prompters import DeepPrompter


def even(x: torch.Tensor) -> torch.Tensor:
    """(P + JP) / 2, with (JP)[k, l] = P[-k, -l]."""
    return (x + x.flip(0, 1).roll((1, 1), (0, 1))) / 2


def waves(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    steps = torch.arange(n).double()
    angles = 2 * torch.pi / n * steps[:, None] * steps
    return angles.cos(), angles.sin()


@pytest.mark.parametrize('number', [4, 5])
def test_the_transform(number):
    prompter = exact('FourierPrompter', num_tokens=number, share=1.0).prompter
    x = torch.randn(number, WIDTH, dtype=torch.float64)
    (cosine, sine), (cosines, sines) = waves(number), waves(WIDTH)
    found = prompter.transform(x)
    assert same(found, cosine @ x @ cosines - sine @ x @ sines)
    assert same(prompter.transform(found), number * WIDTH * even(x))
    basis = torch.eye(number * WIDTH, dtype=torch.float64).unflatten(1, (number, WIDTH))
    matrix = torch.stack([prompter.transform(row).flatten() for row in basis])
    fixed = (2 if number % 2 == 0 else 1) * 2
    assert torch.linalg.matrix_rank(matrix).item() == (number * WIDTH + fixed) / 2


def test_half_of_what_trains_never_acts():
    model = exact('FourierPrompter', num_tokens=4, share=1.0)
    expected = model(pictures())
    model(pictures()).square().sum().backward()
    for row in model.prompter.embedding.rows:
        assert same(row.grad, even(row.grad), 1e-9)  # nothing to what is odd
        with torch.no_grad():
            row.copy_(even(row))
    assert same(model(pictures()), expected)


def test_without_a_share_it_is_deep():
    model, deep = exact('FourierPrompter', num_tokens=3, share=0.3), exact('DeepPrompter')
    assert model.prompter.transformed == 0
    assert torch.equal(model(pictures()), deep(pictures()))


@pytest.mark.parametrize('share', [0.5, 1.0])
def test_plain_is_a_file_of_deep_prompts(share, tmp_path):
    model = exact('FourierPrompter', num_tokens=4, share=share)
    assert type(model.prompter.plain()) is DeepPrompter
    vptx.save_prompt(model, tmp_path / 'plain.safetensors', plain=True)
    deep = vptx.attach(frozen(), DeepPrompter(4)).double().eval()
    vptx.load_prompt(deep, tmp_path / 'plain.safetensors')
    assert same(deep(pictures()), model(pictures()))


def test_a_share_out_of_range():
    with pytest.raises(ValueError, match=r'share must be in \[0, 1\], not 1\.5'):
        exact('FourierPrompter', share=1.5)
