"""mmpretrain's and mmsegmentation's own backbones, prompted: they keep giving their own tuples."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.utils import get_installed_path
from networks import BACKBONES, SIZE, WIDTH, images, tiny
from torch import Tensor, nn

import vptx
from vptx.backbones import MMPretrainViT, MMSegViT, OpenMMLabSwin, wrap_backbone
from vptx.prompted import PromptedBackbone
from vptx.registry import MODELS, PROMPTERS, build

DEEP, SHALLOW = (dict(type=f'{kind}Prompter', num_tokens=3) for kind in ('Deep', 'Shallow'))
every_backbone = pytest.mark.parametrize('name', BACKBONES)
both_prompters = pytest.mark.parametrize('prompter', [DEEP, SHALLOW], ids=['deep', 'shallow'])


def flat(outputs: tuple | list) -> list[Tensor]:
    """A backbone's tensors, those of nested lists too (maps and class tokens)."""
    return [tensor for part in outputs for tensor in (part if isinstance(part, (list, tuple)) else [part])]


def attached(model: nn.Module, prompter: dict, memory: bool = True) -> PromptedBackbone:
    """The prompted backbone, with prompts as large as tokens are; ``memory=False`` shuts door 3."""
    net = wrap_backbone(model)
    if not memory:
        net.geometry = replace(net.geometry, doors=net.geometry.doors - {'memory'})
    prompted = PromptedBackbone(net)
    prompted.set_prompter(build(PROMPTERS, prompter))
    with torch.no_grad():
        for parameter in prompted.prompter.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(3))
    return prompted.eval()


def assert_equal(ours: list[Tensor], theirs: list[Tensor], bound: float = 0) -> None:
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=bound, atol=bound * other.abs().max().item())


@every_backbone
@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('size', [(32, 32), (64, 40)])
def test_without_a_prompter_it_is_the_librarys(name, training, size):
    model, image = tiny(name), images(3, size)
    prompted = PromptedBackbone(wrap_backbone(model))
    if size != (SIZE, SIZE) and not prompted.net.geometry.any_size:
        with pytest.raises(ValueError, match=r'an image of 64 x 40 px, but mmpretrain.* was built for 32 x 32 px'):
            prompted(image)
        return
    model.train(training)
    torch.manual_seed(0)
    expected = flat(model(image))
    prompted.train(training)
    torch.manual_seed(0)
    assert_equal(flat(prompted(image)), expected)


@every_backbone
@pytest.mark.parametrize(('dtype', 'bound'), [(torch.float32, 1e-6), (torch.float64, 1e-12)], ids=['single', 'double'])
def test_memory_is_what_tokens_would_be(name, dtype, bound):
    image, gradients, outputs = images(3).to(dtype), [], []
    for memory in (True, False):
        prompted = attached(tiny(name), DEEP, memory).to(dtype)
        outputs.append(flat(prompted(image)))
        sum(tensor.square().sum() for tensor in outputs[-1]).backward()
        gradients.append([parameter.grad for parameter in prompted.prompter.parameters()])
    assert_equal(*outputs, bound=10 * bound)
    scale = max(gradient.abs().max() for gradient in gradients[1])
    assert all((ours - theirs).abs().max() < 10 * bound * scale for ours, theirs in zip(*gradients, strict=True))
    assert max((a - b).abs().max() for a, b in zip(outputs[0], flat(tiny(name).to(dtype)(image)), strict=True)) > 1e-3


@every_backbone
@both_prompters
def test_outputs_have_their_shapes_and_samples_do_not_mix(name, prompter):
    prompted, batch = attached(tiny(name), prompter), images(3)
    outputs = flat(prompted(batch))
    assert [tensor.shape for tensor in outputs] == [tensor.shape for tensor in flat(tiny(name)(batch))]
    singles = [flat(prompted(image[None])) for image in batch]
    assert_equal(outputs, [torch.cat(parts) for parts in zip(*singles, strict=True)], bound=1e-5)


@every_backbone
@pytest.mark.parametrize('prompter', [None, DEEP], ids=['none', 'deep'])
def test_of_no_images_it_gives_nothing(name, prompter):
    prompted = attached(tiny(name), prompter) if prompter else PromptedBackbone(wrap_backbone(tiny(name)))
    found, expected = flat(prompted(images(0))), flat(tiny(name)(images()))
    assert [tensor.shape for tensor in found] == [(0, *tensor.shape[1:]) for tensor in expected]


@every_backbone
def test_folded_it_is_the_same(name):
    prompted, image = attached(tiny(name), DEEP), images()
    expected = flat(prompted(image))
    assert_equal(flat(prompted.fold()(image)), expected, bound=1e-6)


class Around(nn.Module):
    """A model with a backbone, and nothing else of interest."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.data_preprocessor = nn.Module()
        self.data_preprocessor.mean = torch.tensor([51.0, 102.0, 153.0]).view(3, 1, 1)
        self.data_preprocessor.std = torch.full((3, 1, 1), 127.5)


@every_backbone
def test_attach_and_detach(name):
    backbone, image = tiny(name), images()
    expected, state = flat(backbone(image)), deepcopy(backbone.state_dict())
    model = vptx.attach(Around(backbone), DEEP, tune=['norm.*|ln.*'] if 'swin' not in name else ['norm1'])
    facts = model.backbone.net.geometry
    assert (facts.mean, facts.std) == (pytest.approx((0.2, 0.4, 0.6)), (0.5, 0.5, 0.5))
    model.train()
    sum(tensor.square().sum() for tensor in flat(model.backbone(image))).backward()
    assert all(row.grad is not None for row in model.backbone.prompter.parameters())
    assert vptx.detach(model).backbone is backbone
    assert list(backbone.state_dict()) == list(state)
    backbone.eval()
    assert_equal(flat(backbone(image)), expected)


@every_backbone
def test_strips_of_pixels_become_tokens(name):
    model = vptx.attach(Around(tiny(name)), dict(type='PrependedPixelPrompter', num_tokens=3, init='normalised'))
    model.eval()
    assert [t.shape for t in flat(model.backbone(images()))] == [t.shape for t in flat(tiny(name)(images()))]


def test_nobody_knows_the_pixels():
    model = Around(tiny('mmpretrain vit'))
    model.data_preprocessor = None
    with pytest.raises(ValueError, match='Around has no data_preprocessor with mean and std'):
        vptx.attach(model, DEEP)
    assert not isinstance(model.backbone, PromptedBackbone)


def test_a_map_smaller_than_the_window():
    prompted = attached(tiny('mmpretrain swin'), DEEP)
    with pytest.raises(ValueError, match=r'a map of 3 x 4 patches is smaller than the window of 4: .*pad_small_map'):
        prompted(images(size=(24, 32)))


@pytest.mark.parametrize('net', [MMPretrainViT, MMSegViT, OpenMMLabSwin])
def test_another_model_is_refused(net):
    with pytest.raises(ValueError, match=rf'{net.__name__} wraps mm.*, not Linear'):
        net(nn.Linear(2, 2))


def test_forms_of_output_that_are_not_there():
    with pytest.raises(ValueError, match='out_origin=True'):
        wrap_backbone(BACKBONES['mmseg vit'](out_origin=True))
    with pytest.raises(ValueError, match='out_after_downsample=True'):
        wrap_backbone(BACKBONES['mmpretrain swin'](out_indices=(0,), out_after_downsample=True))


def test_a_subclass_with_a_forward_of_its_own_is_another_model():
    """Called in one piece, so by its image."""

    class Another(type(tiny('mmpretrain vit'))):
        def forward(self, image):
            return (image,)

    model = tiny('mmpretrain vit')
    model.__class__ = Another
    prompted = PromptedBackbone(wrap_backbone(model)).eval()
    assert prompted.net.geometry.doors == {'image', 'logits'}
    assert torch.equal(prompted(images())[0], images())


@pytest.mark.parametrize(
    ('library', 'path', 'changes'),
    [
        (
            'mmpretrain',
            'vision_transformer/vit-base-p16_64xb64_in1k.py',
            {
                'backbone.arch': dict(
                    _delete_=True, embed_dims=WIDTH, num_layers=2, num_heads=2, feedforward_channels=WIDTH
                ),
                'backbone.img_size': SIZE,
                'head.in_channels': WIDTH,
            },
        ),
        (
            'mmpretrain',
            'swin_transformer/swin-base_16xb64_in1k.py',
            {
                'backbone.arch': dict(_delete_=True, embed_dims=8, depths=[1, 1, 1, 2], num_heads=[1, 1, 2, 2]),
                'backbone.img_size': 2 * SIZE,
                'backbone.window_size': 2,
                'head.in_channels': 64,
            },
        ),
        (
            'mmseg',
            'setr/setr_vit-l_pup_8xb2-160k_ade20k-512x512.py',
            {
                **{f'backbone.{k}': v for k, v in dict(embed_dims=WIDTH, num_heads=2, img_size=(SIZE, SIZE)).items()},
                'backbone.init_cfg': None,
                'decode_head.in_channels': WIDTH,
                **{f'auxiliary_head.{i}.in_channels': WIDTH for i in range(3)},
            },
        ),
        (
            'mmseg',
            'swin/swin-base-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py',
            {
                **{f'backbone.{k}': v for k, v in dict(embed_dims=8, depths=[1, 1, 2, 1], num_heads=[1] * 4).items()},
                'backbone.init_cfg': None,
                'decode_head.in_channels': [8, 16, 32, 64],
                'decode_head.channels': 8,
                'auxiliary_head.in_channels': 32,
            },
        ),
    ],
    ids=['vit, mmpretrain', 'swin, mmpretrain', 'setr, mmseg', 'upernet, mmseg'],
)
def test_stock_configs(library, path, changes):
    """As they are installed, only smaller: neck and head take what the prompted backbone gives."""
    pytest.importorskip(library)
    config = Config.fromfile(f'{get_installed_path(library)}/.mim/configs/{path}')
    config.merge_from_dict({f'model.{name}': value for name, value in changes.items()}, allow_list_keys=True)
    model_config = config.model.to_dict()
    if library == 'mmpretrain':
        model_config.update(data_preprocessor=config.data_preprocessor.to_dict(), train_cfg=None)
    else:
        model_config = _replaced(model_config, {'SyncBN': 'BN'})  # there is one process, and no GPU
    with DefaultScope.overwrite_default_scope(library):
        model = MODELS.build(model_config)
        model.init_weights()
    for parameter in model.parameters():  # some heads begin at zero, and would show nothing
        nn.init.normal_(parameter, std=0.02)
    size = (2 * SIZE, 2 * SIZE) if 'swin' in path else (SIZE, SIZE)
    before = model.eval()(images(size=size), mode='tensor')
    vptx.attach(model, DEEP, tune=['head|decode_head|auxiliary_head'])
    model.eval()
    after = model(images(size=size), mode='tensor')
    before, after = (flat(output if isinstance(output, (tuple, list)) else [output]) for output in (before, after))
    assert [tensor.shape for tensor in after] == [tensor.shape for tensor in before]
    assert not torch.equal(after[0], before[0])


def _replaced(config, swap):
    if isinstance(config, dict):
        return {name: _replaced(value, swap) for name, value in config.items()}
    if isinstance(config, (list, tuple)):
        return type(config)(_replaced(value, swap) for value in config)
    return swap.get(config, config) if isinstance(config, str) else config
