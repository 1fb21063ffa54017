"""What is read off timm's networks, however they were built. What every net must do is in ``test_contract.py``."""

import pytest
import timm
import torch
from networks import CLASSES, DEPTH, GRID, HEADS, PATCH, SIZE, WIDTH, images
from timm.data import IMAGENET_DEFAULT_MEAN
from timm.models.convnext import ConvNeXt
from timm.models.resnet import BasicBlock, ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import nn

import vptx
from vptx.backbones import TimmViT, wrap_backbone
from vptx.registry import NETS

DEEP = dict(type='DeepPrompter', num_tokens=3)
VIT = dict(img_size=SIZE, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, num_classes=CLASSES)
BY_CLASS = {
    'ViT': lambda: VisionTransformer(**VIT),
    'Swin': lambda: SwinTransformer(img_size=SIZE, embed_dim=16, depths=(1, 1), num_heads=(2, 2), window_size=4),
    'ResNet': lambda: ResNet(BasicBlock, (1, 1, 1, 1)),
    'ConvNeXt': lambda: ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 8, 16, 16)),
}


@pytest.mark.parametrize('network', BY_CLASS)
def test_a_network_that_was_built_by_its_class(network):
    """Nobody has told its pixels: timm's own defaults hold, as for its transforms."""
    model = BY_CLASS[network]().eval()
    expected = model(images())
    assert torch.equal(vptx.attach(model)(images()), expected)
    net = wrap_backbone(model)
    assert net.geometry.mean == IMAGENET_DEFAULT_MEAN
    assert net.geometry.name == f'timm.{type(model).__name__}'
    assert net.geometry.stem is not None


class Pooled(VisionTransformer):
    """As the models of MAE have it: features are pooled already."""

    def forward_features(self, x):
        return super().forward_features(x)[:, 1:].mean(1)

    def forward_head(self, x, pre_logits=False):
        return self.head(x)


class OtherForward(VisionTransformer):
    def forward(self, x):
        return super().forward(x).softmax(-1)


class OtherHead(VisionTransformer):
    """All that is its own is called."""

    def forward_head(self, x, pre_logits=False):
        x = x[:, 1:].amax(1)
        return x if pre_logits else self.head(x)


@pytest.mark.parametrize(('kind', 'method'), [(Pooled, 'forward_features'), (OtherForward, 'forward')])
def test_a_subclass_that_computes_something_else_is_refused(kind, method):
    message = rf'supports .*{kind.__name__}\. It is of the family of TimmViT, but has its own {method}.*load'
    with pytest.raises(ValueError, match=message):
        vptx.attach(kind(**VIT), DEEP)
    with pytest.raises(ValueError, match=rf'VisionTransformers, not {kind.__name__}\. It is of the family of TimmViT'):
        TimmViT(kind(**VIT))


def test_a_model_with_a_forward_of_its_own_is_refused():
    model = VisionTransformer(**VIT)
    model.forward_features = lambda x: x
    with pytest.raises(ValueError, match='has its own forward_features, which would not be run'):
        vptx.attach(model, DEEP)


def test_a_subclass_with_a_head_of_its_own_is_taken_with_it():
    model = OtherHead(**VIT).eval()
    expected = model(images())
    assert torch.equal(vptx.attach(model)(images()), expected)


@pytest.mark.parametrize('kind', [ResNet, ConvNeXt])
def test_a_convnet_with_features_of_its_own_is_taken_with_them(kind):
    class Brighter(kind):
        def forward_features(self, x):
            return super().forward_features(x + 1)

    model = Brighter(BasicBlock, (1, 1, 1, 1)) if kind is ResNet else Brighter(depths=(1,) * 4, dims=(8, 8, 16, 16))
    expected = model.eval()(images())
    assert torch.equal(vptx.attach(model)(images()), expected)


def last_tokens(prompted: nn.Module) -> list[torch.Tensor]:
    seen = []
    prompted.net.model.norm.register_forward_hook(lambda _, __, output: seen.append(output))
    return seen


@pytest.mark.parametrize('dynamic', [False, True])
def test_a_stem_of_convolutions_has_the_patches_that_come_out_of_it(dynamic):
    model = timm.create_model(
        'vit_tiny_r_s16_p8_224', img_size=64, num_classes=CLASSES, depth=1, dynamic_img_size=dynamic
    ).eval()
    facts = wrap_backbone(model).geometry
    assert (facts.patch, facts.tokens, facts.any_size) == ((32, 32), 1 + 4, dynamic)
    expected = model(images(size=(64, 64)))
    assert torch.equal(vptx.attach(model)(images(size=(64, 64))), expected)
    prompted = vptx.detach(vptx.attach(model))
    prompted = vptx.attach(prompted, dict(type='ShallowPrompter', num_tokens=3), readout='mean')
    seen = last_tokens(prompted)
    torch.testing.assert_close(
        prompted(images(size=(64, 64))), seen[-1][:, 1:].mean(1)
    )  # without prompts: nobody reads them
    prompted = vptx.attach(vptx.detach(prompted), dict(type='ShallowPrompter', num_tokens=3), readout='prompts')
    torch.testing.assert_close(prompted(images(size=(64, 64))), seen[-1][:, 1:4].mean(1))
    prompted = vptx.attach(vptx.detach(prompted), DEEP, readout='map')
    assert prompted(images(size=(64, 64))).shape == (2, 192, 2, 2)
    prompted = vptx.attach(vptx.detach(prompted), dict(type='PrependedPixelPrompter', num_tokens=3))
    assert prompted(images(size=(64, 64))).isfinite().all()
    if not dynamic:
        with pytest.raises(ValueError, match=r'an image of 96 x 64 px, but .* was built for 64 x 64 px'):
            prompted(images(size=(96, 64)))


def test_a_stem_without_positions_takes_any_size():
    model = timm.create_model('vitamin_small_224', img_size=64, pos_embed='none', depth=1, num_classes=CLASSES).eval()
    expected = model(images(size=(96, 64)))
    prompted = vptx.attach(model)
    assert prompted.net.geometry.any_size
    assert torch.equal(prompted(images(size=(96, 64))), expected)


def test_patches_that_leave_out_the_edge_of_the_one_size():
    """SigLIP's, of 14 px, of 384; small here."""
    model = timm.create_model('vit_base_patch16_siglip_224', **dict(VIT, img_size=30)).eval()
    expected = model(images(size=(30, 30)))
    prompted = vptx.attach(model)
    assert torch.equal(prompted(images(size=(30, 30))), expected)
    assert vptx.attach(vptx.detach(prompted), DEEP, readout='map')(images(size=(30, 30))).shape == (2, WIDTH, 3, 3)
    by_name = TimmViT('vit_base_patch16_siglip_224', **dict(VIT, img_size=30))
    assert not by_name.geometry.any_size
    assert by_name.embed(images(size=(30, 30)))[1].grid == (3, 3)


def test_patches_that_are_filled_up():
    model = timm.create_model('vit_base_patch16_224', dynamic_img_size=True, dynamic_img_pad=True, **VIT).eval()
    expected = model(images(size=(30, 35)))
    prompted = vptx.attach(model)
    assert torch.equal(prompted(images(size=(30, 35))), expected)
    assert vptx.attach(vptx.detach(prompted), DEEP, readout='map')(images(size=(30, 35))).shape == (2, WIDTH, GRID, 5)


def test_an_average_over_prefix_tokens_too_is_the_networks_own():
    model = timm.create_model('vit_base_patch16_224', global_pool='avg', pool_include_prefix=True, **VIT).eval()
    expected = model(images())
    net = wrap_backbone(model)
    assert net.readout == 'logits'
    assert torch.equal(vptx.attach(model)(images()), expected)


SHORTER = [dict(depth=2), dict(depths=(1, 1, 1, 1)), dict(layers=(1, 1, 1, 1)), {}]


def short(name: str) -> nn.Module | None:
    """A network of timm with few layers on no device; None where it reads numbers while it is built."""
    for options in SHORTER:
        try:
            with torch.device('meta'):
                return timm.create_model(name, **options).eval()
        except Exception:
            continue  # another family has other names for its depth
    return None


@pytest.mark.slow
def test_every_network_of_timm_that_a_net_knows_runs_on_its_own_images():
    """On no device: as it comes, with prompts by tokens and with prompts by memory, in the shape that timm gives. With
    few layers: of a network's facts, their number is the one that does not differ from name to name."""
    NETS.import_from_location()
    nets = [net for net in NETS.module_dict.values() if net.__name__.startswith('Timm')]
    taken, wrong = 0, []
    for module in timm.list_modules():
        for name in timm.list_models(module=module):
            model = short(name)
            if model is None or not any(net.knows(model) for net in nets):
                break  # networks of one module of timm are of one family
            taken += 1
            image = torch.empty(2, *model.pretrained_cfg['input_size'], device='meta')
            with torch.no_grad(), torch.device('meta'):
                shape = model(image).shape
                for prompter in (None, dict(type='ShallowPrompter', num_tokens=5), DEEP):
                    if prompter and 'tokens' not in wrap_backbone(model).geometry.doors:
                        continue
                    try:
                        prompted = vptx.attach(model, prompter)
                        assert prompted(image).shape == shape
                        model = vptx.detach(prompted)
                    except Exception as error:
                        wrong.append(f'{name}, {prompter}: {error!r}')
                        break
    assert not wrong
    assert taken > 400
