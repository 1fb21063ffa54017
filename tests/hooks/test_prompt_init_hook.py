"""Prompts that start from the tokens of the training images."""

import pytest
import torch
from networks import WIDTH, images, tiny
from runs import hook, runner

import vptx
from vptx.attach import find_prompted_network
from vptx.hooks.prompt_init_hook import fill_from_data


def prompted(**prompter):
    torch.manual_seed(0)
    return find_prompted_network(vptx.attach(tiny(), {'num_tokens': 3, 'type': 'DeepPrompter', **prompter}))


def tokens_entering(network, layer):
    """What the patches look like in front of ``layer``, (B, N, D), by the network's own forward."""
    # Not by a hook on the layer, which would then be called, with prompts among its tokens.
    with torch.no_grad():
        return network.layers(network.embed(images(4)), layer).tokens[:, network.net.geometry.prefix :]


def is_among(prompts, tokens):
    """Whether every prompt (P, D) is one of the tokens (B, N, D)."""
    return (prompts[:, None] - tokens.flatten(0, 1)).abs().amax(-1).amin(1).max() < 1e-5


@pytest.mark.parametrize('pool', ['sample', 'mean'])
def test_prompts_come_from_the_tokens_of_their_layer(pool):
    network = prompted()
    before = [row.clone() for row in network.prompter.embedding.rows]
    fill_from_data(network, [images(4)], pool)
    for layer, row in enumerate(network.prompter.embedding.rows):
        assert not torch.equal(row, before[layer])
        tokens = tokens_entering(network, layer)
        if pool == 'sample':  # each prompt is one of the tokens
            assert is_among(row, tokens)
        else:  # the prompts average to what the tokens average to, up to neighbourhoods of unequal size
            expected = torch.nn.functional.adaptive_avg_pool1d(tokens.mean(0).T[None], 3)[0].T
            torch.testing.assert_close(row.data, expected)


def test_vipamin_goes_to_the_nearest_keys_and_beyond_the_values():
    """The equation worked out prompt by prompt."""
    network, options = prompted(), dict(nearest=5, expansion=0.25, energy=0.8)
    before = [row.detach().clone() for row in network.prompter.embedding.rows]
    fill_from_data(network, [images(4)], dict(type='vipamin', **options))
    for layer, row in enumerate(network.prompter.embedding.rows):
        tokens = tokens_entering(network, layer).flatten(0, 1)
        to_key, to_value = network.net.model.blocks[layer].attn.qkv.weight.detach()[WIDTH:].split(WIDTH)
        _, squares, directions = torch.linalg.svd(tokens @ to_value.T, full_matrices=False)
        share = (squares**2).cumsum(0) / (squares**2).sum()
        reached = directions[: int((share < 0.8).sum()) + 1]
        for start, found in zip(before[layer], row.detach(), strict=True):
            likeness = torch.cosine_similarity(tokens @ to_key.T, start @ to_key.T)
            match = tokens[likeness.argsort(descending=True)[:5]].mean(0)
            own = to_value @ start
            beyond = torch.linalg.solve(to_value, own - reached.T @ (reached @ own))
            torch.testing.assert_close(found, 0.75 * match + 0.25 * beyond, rtol=1e-3, atol=1e-3)
            assert (reached @ to_value @ (found - 0.75 * match)).abs().max() < 1e-3  # no token's value is like it


def test_the_same_seed_draws_the_same_tokens():
    drawn = []
    for seed in (1, 1, 2):
        network = prompted()
        torch.manual_seed(seed)
        fill_from_data(network, [images(4)], 'sample')
        drawn.append(torch.cat([row.detach() for row in network.prompter.embedding.rows]))
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_only_the_prompts_change_and_the_network_stays_in_its_mode():
    network = prompted().train()
    others = {n: p.clone() for n, p in network.state_dict().items() if not n.startswith('prompter')}
    fill_from_data(network, [images(2)], 'mean')
    assert network.training and network.prompter.training and 'prompts' not in vars(network.prompter)
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in others.items())


def test_shared_and_shallow_prompts_start_from_the_first_layer():
    for config in (dict(shared=True), dict(type='ShallowPrompter')):
        network = prompted(**config)
        fill_from_data(network, [images(4)], 'sample')
        (row,) = network.prompter.embedding.rows
        with torch.no_grad():
            tokens, _ = network.net.embed(images(4))
        assert is_among(row, tokens)


def test_what_cannot_start_from_tokens_is_refused():
    with pytest.raises(ValueError, match='project_dim'):
        fill_from_data(prompted(project_dim=WIDTH // 2), [images()], 'mean')
    with pytest.raises(ValueError, match='AddedPrompter cannot start from tokens'):
        fill_from_data(find_prompted_network(vptx.attach(tiny(), dict(type='AddedPrompter'))), [images()], 'mean')
    with pytest.raises(ValueError, match="unknown pool 'median'; there are sample, mean"):
        fill_from_data(prompted(), [images()], 'median')
    with pytest.raises(ValueError, match="pool 'vipamin' takes nearest, expansion, energy, not k"):
        fill_from_data(prompted(), [images()], dict(type='vipamin', k=3))
    with pytest.raises(ValueError, match='nearest of 1 or more, expansion and energy'):
        fill_from_data(prompted(), [images()], dict(type='vipamin', nearest=0))
    swin = find_prompted_network(vptx.attach(tiny('swin'), dict(type='DeepPrompter', num_tokens=3, layers=[0])))
    with pytest.raises(ValueError, match='does not tell the weights of its keys and values'):
        fill_from_data(swin, [images()], 'vipamin')


def test_a_run_starts_from_data_and_a_resumed_one_keeps_its_prompts(tmp_path):
    hooks = [hook(), dict(type='PromptInitHook', pool='mean', batches=2)]
    started = {}
    for name, use in (('noise', hooks[:1]), ('data', hooks)):
        run = runner(tmp_path / name, hooks=use, **{'optim_wrapper.optimizer.lr': 0.0})
        run.train()
        started[name] = [row.detach().clone() for row in run.model.backbone.prompter.embedding.rows]
    assert all(not torch.equal(a, b) for a, b in zip(started['noise'], started['data'], strict=True))
    run = runner(tmp_path / 'data', hooks=hooks, resume=True, **{'optim_wrapper.optimizer.lr': 0.0})
    run.train()
    kept = run.model.backbone.prompter.embedding.rows
    assert all(torch.equal(a, b) for a, b in zip(kept, started['data'], strict=True))
    with pytest.raises(ValueError, match='unknown pool'):
        runner(tmp_path / 'x', hooks=[hook(), dict(type='PromptInitHook', pool='median')])
