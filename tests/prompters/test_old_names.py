"""Prompters that were written for the names and signatures of an older vptx."""

import warnings

import pytest
import torch
from networks import DEPTH, WIDTH, images, tiny
from torch import nn

import vptx
from vptx.prompters import LoRA, Prompter, TokenPrompter

with pytest.warns(DeprecationWarning, match='Old is a prompter for an older vptx') as told:

    class Old(TokenPrompter):
        """Of a user, with all old names of prompts among the tokens."""

        doors = frozenset({'tokens'})

        def bind(self, geometry, reads_prompts=False):
            super().bind(geometry, reads_prompts)
            self.rows = nn.Parameter(torch.randn(geometry.depth, self.num_tokens, geometry.widths[0]))
            self.asked = []

        def brought(self):
            return [('two', torch.ones(2))]

        def prompts(self, tokens, layer):
            assert type(self).__mro__.index(Old) == 0
            return self.rows[layer]

        def memory(self, tokens, layer):
            self.asked.append(('memory', int(layer)))
            return super().memory(tokens, layer)

        def enter(self, tokens, layer):
            self.asked.append(('enter', int(layer)))
            return super().enter(tokens, layer)

        def leave(self, tokens, layer):
            self.asked.append(('leave', int(layer)))
            return super().leave(tokens, layer) * (1 + layer)

        def beside(self, tokens, image):
            return tokens + image.mean((1, 2, 3))[:, None, None]

        @property
        def sees_the_end(self):
            return super().sees_the_end


with warnings.catch_warnings():
    warnings.simplefilter('error')

    class New(TokenPrompter):
        """The same in today's names."""

        def bind(self, geometry, reads_prompts=False):
            super().bind(geometry, reads_prompts)
            self.rows = nn.Parameter(torch.randn(geometry.depth, self.num_tokens, geometry.widths[0]))

        def prompts(self, tokens, at):
            return self.rows[at.layer]

        def after_layer(self, tokens, at):
            return super().after_layer(tokens, at) * (1 + at.layer)

        def at_end(self, tokens, image):
            return tokens + image.mean((1, 2, 3))[:, None, None]


def test_one_warning_names_all_that_has_changed():
    (warning,) = told
    for part in (
        'enter is before_layer',
        'leave is after_layer',
        'beside is at_end',
        'brought is frozen_tensors',
        'sees_the_end is needs_all_tokens',
        'memory takes at in the place of layer',
        'prompts takes at',
    ):
        assert part in str(warning.message)
    assert warning.filename == __file__


@pytest.mark.parametrize('layers', [None, [0, 2]])
def test_the_old_names_compute_the_same(layers):
    old, new = (vptx.attach(tiny(), kind(2, layers)).eval() for kind in (Old, New))
    new.prompter.rows = old.prompter.rows
    assert torch.equal(old(images()), new(images()))
    assert old.prompter.asked == [(name, i) for i in range(DEPTH) for name in ('memory', 'enter', 'leave')]
    assert old.prompter.needs_all_tokens
    assert dict(old.prompter.frozen_tensors())['two'].shape == (2,)


def test_inside_without_at():
    with pytest.warns(DeprecationWarning, match=r'OldInside .*inside takes at, too'):

        class OldInside(LoRA):
            def inside(self, site, input, output):
                return output + 1

    class Inside(LoRA):
        def inside(self, site, input, output, at):
            return output + 1

    old, new = (vptx.attach(tiny(), kind(2)) for kind in (OldInside, Inside))
    assert torch.equal(old(images()), new(images()))


def test_a_class_derived_from_an_old_one():
    class Mixin:
        def enter(self, tokens, layer):
            return tokens + layer

    with pytest.warns(DeprecationWarning, match='Base is a prompter for an older vptx'):

        class Base(Mixin, Prompter):
            doors = frozenset({'tokens'})

    with warnings.catch_warnings():
        warnings.simplefilter('error')

        class Derived(Base):
            def before_layer(self, tokens, at):
                return super().before_layer(tokens, at) * 2

    class Wanted(Prompter):
        doors = frozenset({'tokens'})

        def before_layer(self, tokens, at):
            return (tokens + at.layer) * 2

    derived, wanted = (vptx.attach(tiny(), kind()) for kind in (Derived, Wanted))
    assert torch.equal(derived(images()), wanted(images()))


def test_an_old_prompter_gets_numbers_that_know_where_they_are():
    seen = []
    with pytest.warns(DeprecationWarning, match='Curious is a prompter'):

        class Curious(Prompter):
            doors = frozenset({'tokens'})

            def leave(self, tokens, layer):
                seen.append((layer + 0, f'{layer}', layer.grid, layer.entered.shape))
                return tokens

    vptx.attach(tiny(), Curious())(images())
    assert seen == [(i, str(i), (4, 4), (2, 17, WIDTH)) for i in range(DEPTH)]
