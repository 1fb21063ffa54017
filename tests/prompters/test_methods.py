"""What a prompter may do beside prompts as tokens: each method, against the same written out for one network."""

import pytest
import torch
from networks import CLASSES, DEPTH, GRID, HEADS, SIZE, WIDTH, images, tiny
from runs import hook, runner
from torch import nn
from torch.testing import assert_close

import vptx
from vptx.geometry import At, KeyValue
from vptx.prompters import AddedPrompter, DeepPrompter, LoRA, Prompter, ShallowPrompter, TokenPrompter
from vptx.registry import PROMPTERS


class Middle(Prompter):
    """A linear map between attention and MLP."""

    doors = frozenset({'memory'})

    def bind(self, geometry, reads_prompts=False):
        self.maps = nn.ParameterList(0.1 * torch.randn(width, width) for width in geometry.widths)

    def between(self, tokens, at):
        return tokens + tokens @ self.maps[at.layer]


class Prefix(Prompter):
    """Prefix tuning: keys and values of 2 prompts in each layer."""

    doors = frozenset({'memory'})

    def bind(self, geometry, reads_prompts=False):
        shapes = [(2, heads, 2, geometry.head_width(layer)) for layer, heads in enumerate(geometry.heads)]
        self.pairs = nn.ParameterList(torch.randn(shape) for shape in shapes)

    def memory(self, tokens, at):
        return KeyValue(*self.pairs[at.layer])


class Tasks(TokenPrompter):
    """Prompts of 3 tasks; the note has the task of each sample."""

    takes_note = True

    def bind(self, geometry, reads_prompts=False):
        super().bind(geometry, reads_prompts)
        self.rows = nn.Parameter(torch.randn(3, self.num_tokens, geometry.widths[0]))

    def prompts(self, tokens, at):
        return self.rows[at.note]


class Looking(TokenPrompter):
    """Prompts that are moved by what is seen in the image before the first layer."""

    def bind(self, geometry, reads_prompts=False):
        super().bind(geometry, reads_prompts)
        self.base = nn.Parameter(torch.randn(self.num_tokens, geometry.widths[0]))
        self.times = 0

    def look(self, image, tokens):
        assert tokens.shape == (len(image), 1 + GRID**2, WIDTH)
        self.times += 1
        return image.mean((1, 2, 3))

    def prompts(self, tokens, at):
        return self.base + at.seen[:, None, None]


class Notes(Prompter):
    """Writes down where it is asked."""

    doors = frozenset({'inside', 'tokens'})
    takes_note = True

    def bind(self, geometry, reads_prompts=False):
        self.sites = tuple(site for site in geometry.sites if site.name in ('embed', 'attn', 'norm'))
        self.weight = nn.Parameter(torch.ones(()))
        self.asked = []

    def before_layer(self, tokens, at):
        self.asked.append(('before', at))
        return self.weight * tokens

    def inside(self, site, input, output, at):
        self.asked.append((site.name, at))
        return output

    def after_layer(self, tokens, at):
        self.asked.append(('after', at))
        return tokens


class SmallPrompts(DeepPrompter):
    """Prompts that training is to keep small."""

    def loss(self):
        return dict(size=sum((row**2).sum() for row in self.embedding.rows))


def written_out(model, image, attention=None, between=None):
    """The forward of a ViT of timm, with another attention or with something between its halves."""
    tokens = model.norm_pre(model._pos_embed(model.patch_embed(image)))
    for layer, block in enumerate(model.blocks):
        normed = block.norm1(tokens)
        tokens = tokens + block.ls1(block.attn(normed) if attention is None else attention(block.attn, normed, layer))
        tokens = tokens if between is None else tokens + tokens @ between[layer]
        tokens = tokens + block.ls2(block.mlp(block.norm2(tokens)))
    return model.forward_head(model.norm(tokens))


@pytest.mark.parametrize('network', ['plain', 'layer scale', 'no class token', 'query-key norm'])
def test_between_acts_after_the_shortcut_of_attention(network):
    model = vptx.attach(tiny(network), Middle()).eval()
    expected = written_out(tiny(network), images(), between=model.prompter.maps)
    assert_close(model(images()), expected)
    found, wanted = (
        torch.autograd.grad(y.square().sum(), list(model.prompter.maps)) for y in (model(images()), expected)
    )
    assert_close(found, wanted)
    model.set_grad_checkpointing()
    assert_close(torch.autograd.grad(model(images()).square().sum(), list(model.prompter.maps)), wanted)


class Halves(nn.Module):
    """A block of Swin as its library writes it, with a linear map between its halves."""

    def __init__(self, block, change):
        super().__init__()
        self.block, self.change = block, change

    def forward(self, x):
        block = self.block
        last = type(block).__name__.startswith('SwinTransformerV2')  # V2 norms what a branch gives
        x = x + (block.norm1(block._attn(x)) if last else block._attn(block.norm1(x)))
        x = x + x @ self.change
        return x + (block.norm2(block.mlp(x)) if last else block.mlp(block.norm2(x)))


@pytest.mark.parametrize('network', ['swin', 'swin v2'])
def test_between_in_windows(network):
    model, library = vptx.attach(tiny(network), Middle()).eval(), tiny(network)
    changes = iter(model.prompter.maps)
    for stage in library.layers:
        stage.blocks = nn.Sequential(*(Halves(block, next(changes)) for block in stage.blocks))
    assert_close(model(images()), library(images()))


def test_a_layer_that_has_to_be_called_has_no_middle_and_takes_no_keys():
    for prompter, what in ((Middle(), 'prompter between attention and MLP'), (Prefix(), 'keys and values')):
        model = vptx.attach(tiny(), prompter)
        model.net.model.blocks[1].attn.qkv.register_forward_hook(lambda *_: None)
        with pytest.raises(ValueError, match=f'layer 1 of vit_base.* has to be called, .* takes no {what}'):
            model(images())


def test_layers_of_unknown_make_have_no_middle():
    with pytest.raises(ValueError, match=r'Middle enters by memory, but vit_base.* has no door memory'):
        vptx.attach(tiny('parallel blocks'), Middle())


@pytest.mark.parametrize('network', ['plain', 'query-key norm', 'no qkv bias', 'layer scale'])
def test_raw_keys_and_values_are_prefix_tuning(network):
    model = vptx.attach(tiny(network), Prefix()).eval()

    def attention(attn, x, layer):
        query, key, value = attn.qkv(x).unflatten(2, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
        query, key = attn.q_norm(query), attn.k_norm(key)
        more_keys, more_values = (part.expand(len(x), -1, -1, -1) for part in model.prompter.pairs[layer])
        key, value = torch.cat([more_keys, key], 2), torch.cat([more_values, value], 2)
        weights = (query @ key.mT * query.shape[-1] ** -0.5).softmax(-1)
        return attn.proj((weights @ value).transpose(1, 2).flatten(2))

    expected = written_out(tiny(network), images(), attention)
    assert_close(model(images()), expected)
    found, wanted = (
        torch.autograd.grad(y.square().sum(), list(model.prompter.pairs)) for y in (model(images()), expected)
    )
    assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert_close(vptx.fold(model)(images()), expected)


@pytest.mark.parametrize(
    'network', ['EVA-02', 'BEiT', 'torchvision', 'swin', 'swin v2', 'mmpretrain vit', 'mmseg swin']
)
def test_keys_and_values_that_a_layer_would_have_made(network):
    """No norm, no rotation and no bias of positions comes on top of them."""
    model = vptx.attach(tiny(network), dict(type='DeepPrompter', num_tokens=2)).eval()
    expected, rows, net = model(images()), model.prompter.embedding.rows, model.net
    with torch.no_grad():
        made = [torch.stack(net.keys_values(row, layer)[:2]) for layer, row in enumerate(rows)]
    assert net.geometry.heads == tuple(pair.shape[1] for pair in made)
    model = vptx.attach(vptx.detach(model), Prefix()).eval()
    for mine, pair in zip(model.prompter.pairs, made, strict=True):
        mine.data.copy_(pair)
    assert_close(model(images()), expected)


def test_keys_of_another_shape():
    model = vptx.attach(tiny(), Prefix())
    model.prompter.pairs[1] = nn.Parameter(torch.randn(2, 2 * HEADS, 2, 4))
    with pytest.raises(ValueError, match=r'keys and values of \(8, 2, 4\) .* do not fit layer 1 .* \(4, P, 8\)'):
        model(images())


def test_a_prompter_looks_once():
    model = vptx.attach(tiny(), Looking(2)).eval()
    image, prompter = images(3), model.prompter
    output = model(image)
    assert prompter.times == 1
    alone = vptx.attach(tiny(), DeepPrompter(2)).eval()
    for i in range(3):
        for row in alone.prompter.embedding.rows:
            row.data.copy_(prompter.base + image[i].mean())
        assert_close(output[i : i + 1], alone(image[i : i + 1]))
    model.forward_intermediates(image)
    assert prompter.times == 2
    with pytest.raises(ValueError, match='Looking cannot be folded: its prompts depend on the image'):
        vptx.fold(model)
    with pytest.raises(ValueError, match='Looking sees the image before the first layer'):
        model.frozen_until(image)


def test_a_note_with_a_task_for_each_sample():
    model = vptx.attach(tiny(), Tasks(2)).eval()
    tasks = torch.tensor([2, 0, 2])
    output = model(images(3), note=tasks)
    for i in range(3):
        assert_close(output[i : i + 1], model(images(3)[i : i + 1], note=tasks[i : i + 1]))
    assert not torch.allclose(output, model(images(3), note=torch.tensor([0, 0, 0])), atol=1e-3)
    assert model(images(0), note=tasks[:0]).shape == (0, CLASSES)
    features = model.forward_features(images(3), note=tasks)
    assert_close(model.forward_head(features), output)
    assert_close(model.forward_intermediates(images(3), note=tasks)[0], features)
    with pytest.raises(ValueError, match='a note of 2 entries for 3 images: Tasks takes one for each'):
        model(images(3), note=tasks[:2])
    with pytest.raises(ValueError, match='Tasks cannot be folded: its prompts depend on the note'):
        vptx.fold(model)


def test_a_note_goes_to_those_of_a_stack_that_take_it():
    model = vptx.attach(tiny(), [LoRA(2), Tasks(2)]).eval()
    assert model(images(), note=torch.tensor([0, 1])).shape == (2, CLASSES)
    backbone = vptx.prompted.PromptedBackbone(vptx.backbones.wrap_backbone(tiny()), 'cls')
    vptx.attach(backbone, Tasks(2))
    assert backbone(images(), note=torch.tensor([0, 1]))[0].shape == (2, WIDTH)


@pytest.mark.parametrize('prompter', [None, DeepPrompter(2), [DeepPrompter(2), LoRA(2)]], ids=['none', 'deep', 'stack'])
def test_a_note_that_nobody_takes(prompter):
    model = vptx.attach(tiny(), prompter)
    with pytest.raises(
        ValueError, match=f'given a note, and {type(model.prompter).__name__} takes none: leave note out'
    ):
        model(images(), note=1)


def test_where_a_prompter_is_asked():
    model = vptx.attach(tiny(), Notes()).eval()
    model(images(size=(SIZE, 2 * SIZE)), note='a note')
    grid = (GRID, 2 * GRID)
    names = [(name, at.layer, at.grid) for name, at in model.prompter.asked]
    layers = [(name, layer, grid) for layer in range(DEPTH) for name in ('before', 'attn', 'after')]
    assert names == [('embed', None, (0, 0)), *layers, ('norm', None, grid)]
    assert all(at.note == 'a note' for _, at in model.prompter.asked)
    entered = {name: at.entered for name, at in model.prompter.asked}
    assert entered['before'] is None
    assert entered['attn'] is entered['after']
    assert entered['after'].shape == (2, 1 + 2 * GRID**2, WIDTH)


def test_where_a_prompter_is_asked_again_on_the_way_back():
    model = vptx.attach(tiny(), Notes()).train()
    model.set_grad_checkpointing()
    model(images()).sum().backward()
    layers = [at.layer for name, at in model.prompter.asked if name == 'attn']
    assert layers == [*range(DEPTH), *reversed(range(DEPTH))]
    assert all(at.grid == (GRID, GRID) for name, at in model.prompter.asked if name == 'attn')


def test_where_a_prompter_is_asked_in_windows():
    model = vptx.attach(tiny('swin'), Notes()).eval()
    model(images())
    assert [at.grid for name, at in model.prompter.asked if name == 'attn'] == [(8, 8)] * 2 + [(4, 4)] * 2


class Routed(LoRA):
    """Updates that the note scales for each sample, and the place in the network."""

    takes_note = True

    def inside(self, site, input, output, at):
        scale = at.note[:, None, None] * (1 + at.layer) * at.grid[0]
        return torch.lerp(output, super().inside(site, input, output, at), scale) + 0.1 * at.entered.mean()


@pytest.mark.parametrize('with_cp', [False, True])
def test_a_compiler_knows_where_it_is(with_cp):
    model = vptx.attach(tiny(), Routed(2, targets=['proj'])).eval()
    for update in model.prompter.updates.values():
        nn.init.normal_(update[1].weight)
    model.set_grad_checkpointing(with_cp)
    note = torch.tensor([0.5, 2.0])
    compiled = torch.compile(model, backend='aot_eager', fullgraph=True)
    found, wanted = compiled(images(), note=note), model(images(), note=note)
    assert_close(found, wanted)
    parameters = list(model.prompter.parameters())
    assert_close(*(torch.autograd.grad(y.square().sum(), parameters) for y in (found, wanted)))
    assert model._compiled_at == At(None)


def test_the_loss_of_a_prompter_reaches_the_optimizer(tmp_path):
    once = dict(
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=1, _delete_=True),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.25), _delete_=True),
        param_scheduler=None,
        val_cfg=None,
        val_dataloader=None,
        val_evaluator=None,
    )
    rows = {}
    PROMPTERS.register_module(module=SmallPrompts)
    for kind in ('DeepPrompter', 'SmallPrompts'):
        run = runner(tmp_path / kind, hooks=[hook(dict(type=kind, num_tokens=3))], **once)
        run.train()
        rows[kind] = torch.stack([row.detach() for row in run.model.backbone.prompter.embedding.rows])
        rows[kind, 'first'] = run.message_hub.log_scalars
    # The same first prompts and the same step, but for the gradient of the squares, 2 p: p - lr (g + 2 p).
    start = (rows['DeepPrompter'] - rows['SmallPrompts']) / (0.25 * 2)
    term = rows['SmallPrompts', 'first']['train/prompter.loss_size'].current()
    assert term == pytest.approx(start.square().sum().item(), rel=1e-3)
    assert 'train/prompter.loss_size' not in rows['DeepPrompter', 'first']


def test_losses_of_a_stack_have_the_number_of_their_prompter():
    model = vptx.attach(tiny(), [dict(type='PixelPrompter'), SmallPrompts(2), SmallPrompts(3)])
    assert list(model.prompter.loss()) == ['1.size', '2.size']


def test_a_loss_that_is_none(tmp_path):
    class Wrong(DeepPrompter):
        def loss(self):
            return self.embedding.rows[0].sum()

    PROMPTERS.register_module(module=Wrong)
    with pytest.raises(TypeError, match=r'loss\(\) of Wrong must return a dict of tensors by name'):
        runner(tmp_path, hooks=[hook(dict(type='Wrong', num_tokens=3))]).train()


PLAIN = {
    'deep': (dict(type='DeepPrompter', num_tokens=3, project_dim=5, dropout=0.3), dict(num_tokens=3)),
    'some layers': (
        dict(type='DeepPrompter', num_tokens=3, project_dim=5, layers=[0, -1], carry=False),
        dict(num_tokens=3, layers=[0, -1], carry=False),
    ),
    'shared': (dict(type='DeepPrompter', num_tokens=3, project_dim=5, shared=True), dict(num_tokens=3, shared=True)),
    'shallow': (dict(type='ShallowPrompter', num_tokens=3, project_dim=5), dict(num_tokens=3, layers=[0])),
    'a stack of one': ([dict(type='DeepPrompter', num_tokens=3, project_dim=5)], dict(num_tokens=3)),
}


@pytest.mark.parametrize('name', PLAIN)
def test_a_plain_prompt_file_gives_the_same_outputs(name, tmp_path):
    given, plain = PLAIN[name]
    model = vptx.attach(tiny(), given, tune=['head']).eval()
    before, random = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    vptx.save_prompt(model, tmp_path / 'plain.safetensors', plain=True)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    other = vptx.attach(tiny(), dict(type='DeepPrompter', **plain), tune=['head']).eval()
    facts = vptx.load_prompt(other, tmp_path / 'plain.safetensors')
    assert facts['prompter'] == 'DeepPrompter'
    assert_close(other(images()), model(images()))


@pytest.mark.parametrize('prompter', [dict(type='LoRA'), [dict(type='PixelPrompter'), dict(type='DeepPrompter')]])
def test_what_has_no_plain_form(prompter, tmp_path):
    model = vptx.attach(tiny(), prompter)
    name = type(model.prompter).__name__
    with pytest.raises(ValueError, match=f'plain=True writes the DeepPrompter .*, and {name} has no such form'):
        vptx.save_prompt(model, tmp_path / 'plain.safetensors', plain=True)
    assert not list(tmp_path.iterdir())


def filled(model, *values):
    """``model``, in eval mode, with these prompts in the layers."""
    for row, value in zip(model.prompter.embedding.rows, values, strict=True):
        row.data.copy_(value)
    return model.eval()


@pytest.mark.parametrize('network', ['plain', 'averaged', 'EVA-02', 'BEiT', 'swin', 'torchvision'])
def test_memories_of_a_stack_are_one(network):
    stack = vptx.attach(tiny(network), [DeepPrompter(2), DeepPrompter(3)]).eval()
    first, second = (prompter.embedding.rows for prompter in stack.prompter.prompters)
    one = vptx.attach(tiny(network), DeepPrompter(5))
    one = filled(one, *(torch.cat(pair) for pair in zip(first, second, strict=True)))
    assert_close(stack(images()), one(images()))
    assert_close(vptx.fold(stack)(images()), one(images()))


def test_tokens_with_keys_and_values():
    stack = vptx.attach(tiny(), [DeepPrompter(2), Prefix(), DeepPrompter(3), Prefix()]).eval()
    expected = stack(images())
    with torch.no_grad():
        raw = [
            torch.cat([p.embedding.rows[i] for p in stack.prompter.prompters if p.doors == {'tokens'}])
            for i in range(3)
        ]
        ready = [
            torch.cat([p.pairs[i] for p in stack.prompter.prompters if p.doors == {'memory'}], 2) for i in range(3)
        ]
        made = [torch.cat([pair, torch.stack(stack.net.keys_values(raw[i], i)[:2])], 2) for i, pair in enumerate(ready)]
    one = vptx.attach(tiny(), Prefix()).eval()
    one.prompter.pairs = nn.ParameterList(made)
    assert_close(one(images()), expected)
    assert_close(vptx.fold(stack)(images()), expected)


def test_prompts_of_each_sample_with_those_of_all():
    stack = vptx.attach(tiny(), [Tasks(2), DeepPrompter(3)]).eval()
    tasks, output = torch.tensor([1, 2]), stack(images(), note=torch.tensor([1, 2]))
    chosen, shared = stack.prompter.prompters
    for i, task in enumerate(tasks):
        rows = [torch.cat([chosen.rows[task], row]) for row in shared.embedding.rows]
        one = filled(vptx.attach(tiny(), DeepPrompter(5)), *rows)
        assert_close(output[i : i + 1], one(images()[i : i + 1]))


def test_memory_stands_beside_tokens():
    stack = vptx.attach(tiny(), [ShallowPrompter(2), DeepPrompter(3)]).eval()
    shallow, deep = (prompter.embedding.rows for prompter in stack.prompter.prompters)
    library = tiny()
    tokens = library._pos_embed(library.patch_embed(images()))
    tokens = torch.cat([tokens[:, :1], shallow[0].expand(2, -1, -1), tokens[:, 1:]], 1)
    for block, row in zip(library.blocks, deep, strict=True):
        tokens = block(torch.cat([tokens, row.expand(2, -1, -1)], 1))[:, :-3]
    assert_close(stack(images()), library.forward_head(library.norm(tokens)))


@pytest.mark.parametrize('order', [1, -1])
def test_vectors_are_added_to_the_tokens_of_the_image_alone(order):
    stack = vptx.attach(tiny(), [AddedPrompter(deep=True), ShallowPrompter(2)][::order]).eval()
    added, shallow = (prompter.embedding.rows for prompter in list(stack.prompter.prompters)[::order])
    library = tiny()
    tokens = library._pos_embed(library.patch_embed(images()))
    tokens = torch.cat([tokens[:, :1], shallow[0].expand(2, -1, -1), tokens[:, 1:]], 1)
    for block, row in zip(library.blocks, added, strict=True):
        tokens = block(tokens + torch.cat([row[:1], torch.zeros(2, WIDTH), row[1:]]))
    assert_close(stack(images()), library.forward_head(library.norm(tokens)))


class Gated(Prompter):
    """Takes a part of what went into a layer past it."""

    doors = frozenset({'tokens'})

    def bind(self, geometry, reads_prompts=False):
        self.gate = nn.Parameter(torch.tensor(0.3))

    def after_layer(self, tokens, at):
        return torch.lerp(tokens, at.entered, self.gate)


@pytest.mark.parametrize('order', [1, -1])
def test_what_went_into_a_layer_is_told_without_prompts_that_are_gone(order):
    one_layer = ShallowPrompter(2)
    one_layer.carry = False
    stack = vptx.attach(tiny(), [Gated(), one_layer][::order]).eval()
    library, row = tiny(), one_layer.embedding.rows[0]
    tokens = library._pos_embed(library.patch_embed(images()))
    for layer, block in enumerate(library.blocks):
        longer = torch.cat([tokens, row.expand(2, -1, -1)], 1) if layer == 0 else tokens
        tokens = torch.lerp(block(longer)[:, : tokens.shape[1]], tokens, 0.3)
    assert_close(stack(images()), library.forward_head(library.norm(tokens)))


@pytest.mark.parametrize('readout', ['prompts', 'cls'])
def test_two_that_add_tokens(readout):
    both = [ShallowPrompter(2), ShallowPrompter(2) if readout == 'cls' else DeepPrompter(2)]
    with pytest.raises(
        ValueError, match=f'of the prompters of a stack one may add tokens, not {type(both[0]).__name__}'
    ):
        vptx.attach(tiny(), both, readout=readout)


class Spatial(TokenPrompter):
    """One prompt that depends on how many patches there are."""

    def bind(self, geometry, reads_prompts=False):
        super().bind(geometry, reads_prompts)
        self.base = nn.Parameter(torch.randn(1, geometry.widths[0]))

    def prompts(self, tokens, at):
        return self.base * at.grid[0] * at.grid[1]


def test_prompts_that_depend_on_the_size_of_an_image_are_not_folded():
    with pytest.raises(ValueError, match="Spatial cannot be folded: its prompts depend on the image's size"):
        vptx.fold(vptx.attach(tiny(), Spatial(1)))
