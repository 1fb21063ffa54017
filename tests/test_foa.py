"""FOA: its loss against one that is written out here, what it leaves alone, and that it adapts."""

import pytest
import torch
from networks import images, tiny

import vptx
from vptx.foa import FOA, entropy

SHALLOW = dict(type='ShallowPrompter', num_tokens=2)


def made(**options) -> FOA:
    torch.manual_seed(0)
    model = vptx.attach(tiny(), SHALLOW, tune=[]).eval()
    return FOA(model, [images(4), images(4).flip(0)], population=6, **options)


def class_tokens(network, x, prompts=None):
    """By timm's own modules."""
    model, found = network.net.model, []
    tokens = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(x))))
    if prompts is not None:
        tokens = torch.cat([tokens[:, :1], prompts.expand(len(x), -1, -1), tokens[:, 1:]], 1)
    for block in model.blocks:
        tokens = block(tokens)
        found.append(tokens[:, 0])
    found[-1] = model.norm(tokens)[:, 0]
    return found


@torch.no_grad()
def test_the_loss_is_that_of_the_paper():
    foa, x = made(weight=0.3), images(5)
    network, losses, step = foa.network, [], foa.population.step

    def watched(loss):
        def once():
            losses.append((torch.cat([p.clone() for p in foa.prompts]), loss()))
            return losses[-1][1]

        step(once)

    foa.population.step = watched
    foa(x)
    source = class_tokens(network, torch.cat([images(4), images(4).flip(0)]))
    for prompts, found in losses:
        tokens = class_tokens(network, x, prompts)
        expected = entropy(network.net.model.head(tokens[-1])).sum()
        for ours, theirs in zip(tokens, source, strict=True):
            apart = (ours.mean(0) - theirs.mean(0)).square().sum() + (ours.std(0) - theirs.std(0)).square().sum()
            expected += 0.3 * 5 / 64 * apart
        assert found == pytest.approx(float(expected), rel=1e-4)
    assert len(losses) == 6
    best = min(losses, key=lambda pair: pair[1])[0]
    assert torch.equal(torch.cat(list(foa.prompts)), best)


@torch.no_grad()
def test_class_tokens_are_moved_towards_the_source_from_the_second_batch_on():
    foa, x = made(shift=2.0), images(5)
    logits = foa(x)
    head, network = foa.network.net.model.head, foa.network
    torch.testing.assert_close(logits, head(class_tokens(network, x, torch.cat(list(foa.prompts)))[-1]))
    followed = foa.followed.clone()
    logits = foa(x)
    moved = class_tokens(network, x, torch.cat(list(foa.prompts)))[-1] + 2 * (foa.mean[-1] - followed)
    torch.testing.assert_close(logits, head(moved), atol=1e-4, rtol=1e-4)
    assert not torch.equal(foa.followed, followed)


def test_nothing_but_prompts_is_changed_and_a_reset_forgets():
    foa, x = made(), images(4)
    before = {name: tensor.clone() for name, tensor in foa.network.state_dict().items()}
    first = foa(x)
    foa(x)
    after = foa.network.state_dict()
    assert {name for name in before if not before[name].equal(after[name])} == {
        name for name in before if name.startswith('prompter.')
    }
    assert 'after_layer' not in vars(foa.network.prompter)
    foa.reset()
    assert all(before[name].equal(tensor) for name, tensor in foa.network.state_dict().items())
    torch.testing.assert_close(foa(x), first)


def test_it_comes_near_to_the_source():
    """Darker images with noise: over some batches the statistics of class tokens come nearer."""
    foa, x = made(shift=0.0, sigma=0.3), 0.3 * images(8) + 0.5
    with torch.no_grad():
        start = class_tokens(foa.network, x, torch.zeros_like(torch.cat(list(foa.prompts))))
        before = float(entropy(foa.network.net.model.head(start[-1])).sum() + 0.4 * 8 / 64 * foa._apart(start))
        for _ in range(15):
            foa(x)
        end = class_tokens(foa.network, x, torch.cat(list(foa.prompts)))
        after = float(entropy(foa.network.net.model.head(end[-1])).sum() + 0.4 * 8 / 64 * foa._apart(end))
    assert after < before


def test_bad_input():
    with pytest.raises(ValueError, match='two images or more'):
        made()(images(1))
    model = vptx.attach(tiny(), SHALLOW, tune=[])
    with pytest.raises(ValueError, match='two source images or more are needed, not 1'):
        FOA(model, [images(1)])
    with pytest.raises(ValueError, match=r'momentum be in \(0, 1\]'):
        FOA(model, [images(4)], momentum=0)
    with pytest.raises(ValueError, match=r'population at least 4, not 1\.0 and 3'):
        FOA(model, [images(4)], population=3)
    with pytest.raises(ValueError, match='0 tensors of prompts'):
        FOA(vptx.attach(tiny(), None, tune=['head']), [images(4)])
    with pytest.raises(ValueError, match='no class token'):
        FOA(vptx.attach(tiny('swin'), SHALLOW, tune=[]), [images(4)])
