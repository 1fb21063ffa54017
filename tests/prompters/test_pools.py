"""Prompts that are chosen by the query of the frozen network: each image gets its own."""

import pytest
import torch
import torch.nn.functional as F
from exact import exact, frozen, pictures, same
from networks import CLASSES, SIZE, WIDTH, tiny

import vptx
from vptx.geometry import At

POOLS = ['L2P', 'DualPrompt', 'CODAPrompt']


def query(network: str = 'plain') -> torch.Tensor:
    return frozen(network).forward_features(pictures(5))[:, 0]


@pytest.mark.parametrize('kind', POOLS)
def test_the_query_is_the_frozen_network(kind):
    """Whatever else is attached: LoRA here, and prompts on the image."""
    torch.manual_seed(0)
    model = exact([dict(type=kind), dict(type='PixelPrompter')])
    assert same(model._query(pictures(5)), query())
    model = exact([dict(type='L2P'), dict(type='LoRA')])
    seen, _ = model.embed(pictures(5)).seen
    near = F.normalize(query(), dim=-1) @ F.normalize(model.prompter.prompters[0].keys, dim=-1).T
    assert torch.equal(seen, near.topk(5).indices)


@pytest.mark.parametrize('kind', POOLS)
def test_predictions_do_not_depend_on_the_batch(kind):
    """(layers, 2, B) gathers: the reshape of a public code gives sample b the rows of samples 2b and 2b + 1."""
    model = exact(kind)
    batch = pictures(5)
    expected = model(batch)
    order = torch.tensor([3, 0, 4, 2, 1])
    assert same(model(batch[order]), expected[order])
    for size in (1, 2):
        assert same(model(batch[:size]), expected[:size])


def test_l2p_takes_the_nearest():
    model = exact('L2P', chosen=2)
    prompter = model.prompter
    index = model.embed(pictures(5)).seen
    near = F.cosine_similarity(query()[:, None], prompter.keys, dim=-1)
    for image, chosen in zip(near, index, strict=True):
        assert set(chosen.tolist()) == set(image.argsort()[-2:].tolist())
    rows = prompter.prompts(torch.zeros(5, 17, WIDTH).double(), At(0, (4, 4), seen=index))
    assert torch.equal(rows[3], torch.cat([prompter.rows[i] for i in index[3]]))


def test_l2p_pulls_keys_to_their_images():
    model = exact('L2P', chosen=2, pull=0.5).train()
    model(pictures(5))
    (pull,) = model.prompter.loss().values()
    near = F.cosine_similarity(query()[:, None], model.prompter.keys, dim=-1)
    assert same(pull, 0.5 * (1 - near.topk(2).values).sum(1).mean())
    pull.backward()
    assert model.prompter.keys.grad.any()
    model.eval()(pictures(5))
    assert model.prompter.loss() == {}


def test_dual_prompt_learns_the_expert_of_the_task_and_asks_the_keys_later():
    model = exact('DualPrompt', tasks=3)
    prompter = model.prompter
    assert prompter.general_layers == (0, 1) and prompter.expert_layers == (2,)
    prompter.begin_task(1)
    model.train()
    assert model.embed(pictures(5)).seen.tolist() == [1] * 5
    model.eval()
    near = F.cosine_similarity(query()[:, None], prompter.keys, dim=-1)
    assert torch.equal(model.embed(pictures(5)).seen, near[:, :2].argmax(1))
    memory = prompter.memory(torch.zeros(2, 17, WIDTH), At(2, (4, 4), seen=torch.tensor([2, 0])))
    assert torch.equal(memory.key[0], prompter.experts[0][2, 0]) and torch.equal(
        memory.value[1], prompter.experts[0][0, 1]
    )
    with pytest.raises(ValueError, match='task 3 is out of range: DualPrompt has experts of the tasks 0 to 2'):
        prompter.begin_task(3)


def test_coda_prompt_weighs_components():
    model = exact('CODAPrompt', components=6, length=4, tasks=3)
    prompter, images = model.prompter, query()
    memory = prompter.memory(torch.zeros(5, 17, WIDTH), At(1, (4, 4), seen=images))
    expected = sum(
        F.cosine_similarity(images[3] * a, k, dim=0) * p
        for a, k, p in zip(prompter.attentions[1], prompter.keys[1], prompter.rows[1], strict=True)
    ).unflatten(0, (4, 4, -1))
    assert same(memory.key[3], expected[:2].transpose(0, 1))
    assert same(memory.value[3], expected[2:].transpose(0, 1))


def test_coda_prompt_keeps_what_older_tasks_learnt():
    model = exact('CODAPrompt', components=6, length=4, tasks=3, orthogonal=0.1).train()
    prompter = model.prompter
    prompter.begin_task(1)
    rows = prompter.keys[0].detach()
    assert (rows[2:4] @ rows[:2].T).abs().max() < 1e-12  # and longer ones among themselves
    (model(pictures()).square().sum() + sum(prompter.loss().values())).backward()
    for parameter in prompter.parameters():
        moved = parameter.grad.flatten(1).any(1)
        assert moved.tolist() == [False, False, True, True, False, False]


def test_an_encoder_of_its_own():
    net = dict(type='TimmViT', model='vit_base_patch16_224', img_size=SIZE, patch_size=8, depth=1, num_heads=2)
    torch.manual_seed(0)
    model = vptx.attach(tiny(), dict(type='L2P', encoder=dict(net, embed_dim=WIDTH))).eval()
    assert model(pictures(2).float()).shape == (2, CLASSES)
    assert not any('encoder' in name for name in model.prompter.state_dict())
    with pytest.raises(ValueError, match=r'makes queries of 16 numbers, and keys have the 32 of .*: take an encoder'):
        vptx.attach(tiny(), dict(type='L2P', encoder=dict(net, embed_dim=16)))
    with pytest.raises(ValueError, match=r'DualPrompt reads the class token of its encoder, and .* has none'):
        vptx.attach(tiny(), dict(type='DualPrompt', encoder=dict(net, model='vit_base_patch16_siglip_gap_224')))


def test_keys_of_another_width(tmp_path):
    model = exact('DualPrompt')
    prompter = model.prompter
    vptx.detach(model)
    with pytest.raises(ValueError, match=r'this DualPrompt is bound to .* and does not fit .* Make a new one'):
        vptx.attach(frozen('swin'), prompter)


@pytest.mark.parametrize(
    ('kind', 'options', 'message'),
    [
        ('L2P', dict(chosen=11), 'chosen=11 prompts are more than the 10 of the pool'),
        ('DualPrompt', dict(expert=[0, 1]), r'experts are in other layers than general prefixes'),
        ('CODAPrompt', dict(length=3), 'length=3 must be even'),
        ('CODAPrompt', dict(tasks=7), 'tasks=7 must divide components=100'),
    ],
)
def test_bad_options(kind, options, message):
    with pytest.raises(ValueError, match=message):
        exact(kind, **options)
