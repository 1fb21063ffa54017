"""What prompts are measured against: each computes its paper's equation, begins as it should, and learns."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from malice import Opens
from mmpretrain.models.peft.lora import LoRALinear
from networks import DEPTH, WIDTH, images, tiny
from timm.layers import Mlp
from torch import Tensor, nn

import vptx

INSIDE = ['Adapter', 'AdaptFormer', 'LoRA', 'SSF']
EXACT = ['Adapter', 'AdaptFormer', 'LoRA']  # the network itself initially


def attached(kind: str, **options) -> nn.Module:
    torch.manual_seed(1)
    return vptx.attach(tiny(), dict(type=kind, **options), tune=['head'])


def stir(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.2)


@pytest.mark.parametrize('kind', EXACT)
def test_it_begins_as_the_network_itself(kind):
    assert torch.equal(attached(kind).eval()(images()), tiny()(images()))


@pytest.mark.parametrize('kind', [*INSIDE, 'SideTuning'])
def test_every_tensor_learns(kind):
    """The public code's adapter begins with zeros on both sides, and only its last bias ever changes."""
    model = attached(kind)
    before = deepcopy(dict(model.prompter.named_parameters()))
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    for seed in range(3):
        loss = F.cross_entropy(model(images(4, seed=seed)), torch.tensor([0, 1, 2, 3]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    still = [name for name, p in model.prompter.named_parameters() if torch.equal(p, before[name])]
    assert before and not still


def counts(kind: str, **options) -> int:
    return sum(parameter.numel() for parameter in attached(kind, **options).prompter.parameters())


def test_counts_are_those_of_the_papers():
    hidden = WIDTH // 8
    bottleneck = 2 * WIDTH * hidden + hidden + WIDTH
    assert counts('Adapter') == DEPTH * bottleneck
    assert counts('Adapter', after=('attn', 'mlp')) == 2 * DEPTH * bottleneck
    assert counts('AdaptFormer', hidden=5) == DEPTH * (2 * WIDTH * 5 + 5 + WIDTH)
    assert counts('LoRA', rank=4) == DEPTH * 2 * 4 * 2 * WIDTH
    assert counts('LoRA', rank=2, targets=['fc1']) == DEPTH * 2 * (WIDTH + 4 * WIDTH)
    assert counts('SSF') == 2 * (DEPTH * 11 * WIDTH + 2 * WIDTH)
    assert counts('SideTuning') == 2_469_696 + 9_216 * WIDTH + 1


@pytest.mark.parametrize('target', ['proj', 'fc1', 'fc2'])
def test_lora_is_mmpretrains(target):
    model = attached('LoRA', rank=3, alpha=6, targets=[target]).eval()
    stir(model.prompter)
    theirs = tiny()
    for layer, block in enumerate(theirs.blocks):
        owner = block.attn if target == 'proj' else block.mlp
        wrapped = LoRALinear(getattr(owner, target), alpha=6, rank=3).eval()
        down, up = model.prompter.updates[f'{target}_{layer}']
        wrapped.lora_down, wrapped.lora_up = down, up
        setattr(owner, target, wrapped)
    torch.testing.assert_close(model(images()), theirs(images()))


EVERYWHERE = {
    'EVA-02': ['q', 'v', 'proj', 'fc2'],  # maps of their own
    'DINOv3': ['q', 'k', 'v', 'proj', 'fc1', 'fc2'],
    'BEiT': ['q', 'v', 'proj', 'fc1'],  # whose attention takes the weights of its map
    'relative positions': ['q', 'v'],
    'NaFlex': ['q', 'v'],
    'CaiT': ['proj', 'fc1'],
    'torchvision': ['fc1', 'fc2'],
    'swin v2': ['proj', 'fc1'],
    'mmpretrain vit': ['q', 'v', 'proj', 'fc1', 'fc2'],
    'mmpretrain deit3': ['q', 'v', 'fc1'],
    'mmpretrain eva02': ['q', 'v', 'proj'],
    'mmpretrain beit': ['proj', 'fc1'],
    'mmpretrain swin v2': ['proj', 'fc1'],
    'mmpretrain swin': ['q', 'v', 'proj', 'fc1'],
    'mmseg vit': ['fc1', 'fc2'],
    'mmseg swin': ['q', 'v', 'fc2'],
}


def last(output: Tensor | tuple | list) -> Tensor:
    return output if isinstance(output, Tensor) else last(output[-1])


@pytest.mark.parametrize('network', EVERYWHERE)
def test_lora_is_another_weight_of_every_network(network):
    theirs, image = tiny(network), images()
    torch.manual_seed(1)
    model = vptx.attach(tiny(network), dict(type='LoRA', rank=2, alpha=4, targets=EVERYWHERE[network])).eval()
    stir(model.prompter)
    own = type(model.net)(theirs)
    with torch.no_grad():
        for site in model.prompter.sites:
            weight = own.module_at(site).weight
            parts = ('q', 'k', 'v') if site.name == 'qkv' else (site.name,)
            for rows, part in zip(weight.chunk(len(parts)), parts):
                if part in EVERYWHERE[network]:
                    down, up = model.prompter.updates[f'{part}_{site.layer}']
                    rows += 2 * up.weight @ down.weight
    torch.testing.assert_close(last(model(image)), last(theirs(image)), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(last(model(image)), last(tiny(network)(image)), atol=1e-3)


@pytest.mark.parametrize('kind', INSIDE)
@pytest.mark.parametrize('layers', [[1], [-1], range(-2, 0)])
def test_layers(kind, layers):
    whole, some = attached(kind), attached(kind, layers=layers)
    there = {site.layer for site in some.prompter.sites}
    assert there == {layer % DEPTH for layer in layers}
    names = {site.name for site in some.prompter.sites}
    assert {(site.name, site.layer) for site in whole.prompter.sites} >= {
        (name, layer) for name in names for layer in there
    }
    assert some.prompter.settings['layers'] == sorted(there)
    some(images()).sum().backward()
    assert all(parameter.grad is not None for parameter in some.prompter.parameters())


def test_layers_that_are_another_than_in_the_file(tmp_path):
    model = attached('Adapter', layers=[0, 1])
    vptx.save_prompt(model, tmp_path / 'two.safetensors')
    vptx.load_prompt(attached('Adapter', layers=[0, 1]), tmp_path / 'two.safetensors')
    with pytest.raises(ValueError, match=r'two\.safetensors does not fit this model'):
        vptx.load_prompt(attached('Adapter'), tmp_path / 'two.safetensors')


def test_a_network_without_the_module_is_refused():
    with pytest.raises(
        ValueError, match=r'LoRA acts on q, qkv, v, and layer 0 of torch.* calls no .* only norm1, norm2, fc1'
    ):
        vptx.attach(tiny('torchvision'), dict(type='LoRA'))
    with pytest.raises(
        ValueError, match=r'LoRA acts on fc1, and layer 0 of eva02_base.* calls no such module, only norm1, q'
    ):
        vptx.attach(tiny('EVA-02'), dict(type='LoRA', targets=['fc1']))


def test_lora_on_queries_keys_and_values_is_another_weight():
    model = attached('LoRA', rank=3, alpha=6, targets=['q', 'k', 'v']).eval()
    stir(model.prompter)
    theirs = tiny()
    with torch.no_grad():
        for layer, block in enumerate(theirs.blocks):
            for index, part in enumerate('qkv'):
                down, up = model.prompter.updates[f'{part}_{layer}']
                rows = slice(index * WIDTH, (index + 1) * WIDTH)
                block.attn.qkv.weight[rows] += 2 * up.weight @ down.weight
    torch.testing.assert_close(model(images()), theirs(images()))


def test_ssf_is_another_weight():
    model = attached('SSF').eval()
    theirs = tiny()
    pairs = zip(model.prompter.sites, model.prompter.scales, model.prompter.shifts, strict=True)
    with torch.no_grad():
        for site, scale, shift in pairs:
            module = theirs.patch_embed.proj if site.name == 'embed' else model.net.__class__(theirs).module_at(site)
            module.weight.mul_(scale.view(-1, *[1] * (module.weight.dim() - 1)))
            module.bias.mul_(scale).add_(shift)
    torch.testing.assert_close(model(images()), theirs(images()))


class Adapted(nn.Module):
    """An MLP with a bottleneck behind it, or beside it."""

    def __init__(self, mlp: Mlp, extra: nn.Module, beside: float | None = None) -> None:
        super().__init__()
        self.mlp, self.extra, self.scale = mlp, extra, beside

    def forward(self, x: Tensor) -> Tensor:
        y = self.mlp(x)
        return y + self.extra(y) if self.scale is None else y + self.scale * self.extra(x)


@pytest.mark.parametrize('kind', ['Adapter', 'AdaptFormer'])
def test_bottlenecks_stand_where_their_papers_put_them(kind):
    model = attached(kind).eval()
    stir(model.prompter)
    theirs = tiny()
    for layer, block in enumerate(theirs.blocks):
        if kind == 'Adapter':
            extra = model.prompter.bottlenecks[f'mlp_{layer}']
            extra = nn.Sequential(extra.down, nn.GELU(), extra.up)
        else:
            extra = model.prompter.branches[layer]
        block.mlp = Adapted(block.mlp, extra, None if kind == 'Adapter' else 0.1)
    torch.testing.assert_close(model(images()), theirs(images()))


def test_side_tuning_blends_halfway_to_begin_with():
    model = vptx.attach(tiny(), dict(type='SideTuning'), readout='cls').eval()
    image, side = images(), model.prompter
    frozen = tiny().forward_features(image)[:, 0]
    larger = F.interpolate(image, [64, 64], mode='bilinear')
    feature = side.project(F.adaptive_avg_pool2d(side.features(larger), 6).flatten(1))
    torch.testing.assert_close(model(image), 0.5 * frozen + 0.5 * feature)
    side.alpha.data.fill_(100.0)
    torch.testing.assert_close(model(image), frozen)


def test_side_tuning_reads_a_file_of_alexnet_and_nothing_that_could_run(tmp_path):
    drawn = attached('SideTuning').prompter
    alexnet = {f'features.{name}': value for name, value in drawn.features.state_dict().items()}
    torch.save(alexnet, tmp_path / 'half.pth')
    with pytest.raises(ValueError, match=r'half\.pth does not hold the weights of AlexNet'):
        attached('SideTuning', weights=str(tmp_path / 'half.pth'))
    with pytest.raises(FileNotFoundError, match=r'none\.pth'):
        attached('SideTuning', weights=str(tmp_path / 'none.pth'))
    torch.save(Opens(tmp_path / 'ran'), tmp_path / 'bomb.pth')
    with pytest.raises(ValueError, match='could run code'):
        attached('SideTuning', weights=str(tmp_path / 'bomb.pth'))
    assert not (tmp_path / 'ran').exists()


def test_alexnet_without_a_network_says_where_to_put_it(tmp_path, monkeypatch):
    def no_network(*arguments, **options):
        raise OSError('no route to host')

    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', no_network)
    with pytest.raises(FileNotFoundError, match=r'no route to host.*Fetch https://.*alexnet.*put it there'):
        attached('SideTuning', weights='imagenet')


def test_fixed_random_prompts_stay_as_drawn_and_travel_with_the_file(tmp_path):
    deep = dict(type='DeepPrompter', num_tokens=3, dropout=0.5)
    torch.manual_seed(1)
    model = vptx.attach(tiny(), deep, tune=['head', '!prompter']).train()
    assert [name for name, p in model.named_parameters() if p.requires_grad] == [
        'net.model.head.weight',
        'net.model.head.bias',
    ]
    assert not any(module.training for module in model.prompter.modules())  # no dropout on what does not learn
    vptx.save_prompt(model, tmp_path / 'fixed.safetensors')
    torch.manual_seed(2)
    other = vptx.attach(tiny(), deep, tune=['head', '!prompter']).eval()
    assert not torch.equal(other(images()), model.eval()(images()))
    vptx.load_prompt(other, tmp_path / 'fixed.safetensors')
    assert torch.equal(other(images()), model(images()))


@pytest.mark.parametrize(
    ('kind', 'options', 'message'),
    [
        ('Adapter', dict(after=('head',)), "after must name 'attn', 'mlp' or both"),
        ('Adapter', dict(after=()), 'after must name'),
        ('Adapter', dict(reduction=0), 'reduction must be a whole number from 1 to 32, not 0'),
        ('Adapter', dict(reduction=64), 'reduction must be a whole number from 1 to 32, not 64'),
        ('AdaptFormer', dict(hidden=0), 'hidden must be a whole number of at least 1'),
        ('AdaptFormer', dict(dropout=1.0), r'dropout must be in \[0, 1\)'),
        ('LoRA', dict(rank=0), 'rank must be a whole number of at least 1'),
        ('LoRA', dict(targets=['w']), r"targets must be a list of q, k, v, proj, fc1, fc2, not \['w'\]"),
        ('LoRA', dict(targets='qv'), 'targets must be a list of'),
        ('LoRA', dict(layers=[]), 'layers must be a list of at least one layer'),
        ('SSF', dict(layers=6), 'layers must be a list of at least one layer'),
        ('Adapter', dict(layers=range(6, 12)), r'layers \[6, 7, 8, 9, 10, 11\] are out of range: .* 0 to 2'),
        ('LoRA', dict(dropout=-0.1), r'dropout must be in \[0, 1\)'),
    ],
)
def test_bad_options(kind, options, message):
    model = tiny()
    with pytest.raises(ValueError, match=message):
        vptx.attach(model, dict(type=kind, **options))
    assert torch.equal(model(images()), tiny()(images()))  # left as it was
