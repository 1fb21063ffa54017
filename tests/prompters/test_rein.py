"""Rein: patches refined by tokens."""

import pytest
import torch
from exact import exact, frozen, pictures, same
from networks import WIDTH

from vptx.geometry import At

AT = At(1, (4, 4))


def test_without_a_scale_it_is_the_network():
    model = exact('Rein')
    with torch.no_grad():
        model.prompter.scale.zero_()
    assert same(model(pictures()), frozen()(pictures()))


def test_the_equation_and_the_prefix():
    prompter = exact('Rein').prompter
    tokens = torch.randn(2, 17, WIDTH, dtype=torch.float64)
    learnt = prompter.downs[1] @ prompter.ups[1]
    of_tokens, of_patches = prompter.of_tokens[str(WIDTH)], prompter.of_patches[str(WIDTH)]
    found = prompter.after_layer(tokens, AT)
    assert torch.equal(found[:, 0], tokens[:, 0])
    f = tokens[1, 5]
    a = torch.softmax(learnt @ f / WIDTH**0.5, 0)
    delta = sum(a[j] * of_tokens(learnt[j]) for j in range(1, len(a)))
    assert same(found[1, 5], f + prompter.scale * of_patches(f + delta))


def test_the_order_of_tokens_after_the_first_does_not_matter():
    model = exact('Rein', num_tokens=5)
    expected = model(pictures())
    with torch.no_grad():
        for down in model.prompter.downs:
            down[1:] = down[1:].flip(0)
    assert same(model(pictures()), expected)
    with torch.no_grad():
        model.prompter.downs[0].copy_(model.prompter.downs[0].flip(0))
    assert not same(model(pictures()), expected, 1e-6)


def test_of_equal_tokens_each_weighs_as_much():
    prompter = exact('Rein', num_tokens=4).prompter
    with torch.no_grad():
        prompter.downs[1].copy_(prompter.downs[1][:1].expand_as(prompter.downs[1]))
    f = torch.randn(2, 17, WIDTH, dtype=torch.float64)
    token = (prompter.downs[1] @ prompter.ups[1])[0]
    inner = 3 / 4 * prompter.of_tokens[str(WIDTH)](token) + f[:, 1:]
    expected = f[:, 1:] + prompter.scale * prompter.of_patches[str(WIDTH)](inner)
    assert same(prompter.after_layer(f, AT)[:, 1:], expected)


def test_one_token_is_too_few():
    with pytest.raises(ValueError, match='num_tokens must be a whole number of at least 2, not 1'):
        exact('Rein', num_tokens=1)
