"""torchvision's classifiers that are called in one piece. What every net must do is in ``test_contract.py``."""

import pytest
import torch
from networks import CLASSES, images, tiny
from torch import nn
from torchvision import models

import vptx
from vptx.backbones import TorchvisionClassifier, wrap_backbone
from vptx.backbones.whole import WholeNet

BORDER = dict(type='BorderPrompter', width=4)
CLASSES_OF = {
    models.get_model_builder(name).__annotations__['return']: name for name in models.list_models(module=models)
}
BUILDERS = [
    pytest.param(name, marks=[] if name in CLASSES_OF.values() else pytest.mark.slow)
    for name in models.list_models(module=models)
]


def on_no_device(name: str) -> nn.Module:
    aux = dict(init_weights=False) if name in ('googlenet', 'inception_v3') else {}
    if name.startswith('regnet'):  # which computes its widths with tensors
        return models.get_model(name).to('meta')
    with torch.device('meta'):
        return models.get_model(name, **aux)


@pytest.mark.parametrize('name', BUILDERS)
def test_every_classifier_of_torchvision(name):
    """On no device: its classes, its logits with pixels and without, and its size."""
    model = on_no_device(name).eval()
    net = wrap_backbone(model)
    assert (net.geometry.classes, net.geometry.doors >= {'image', 'logits'}) == (1000, True)
    with torch.no_grad(), torch.device('meta'):
        prompted = vptx.attach(model, BORDER)
        assert prompted(torch.empty(2, 3, *net.geometry.image, device='meta')).shape == (2, 1000)


@pytest.mark.parametrize(
    'name, size', [('resnet18', 224), ('inception_v3', 299), ('efficientnet_b4', 380), ('maxvit_t', 224)]
)
def test_by_name(name, size):
    with torch.device('meta'):
        net = TorchvisionClassifier(name, **(dict(init_weights=False) if name == 'inception_v3' else {}))
    assert (net.geometry.name, net.geometry.image) == (name, (size, size))
    assert (net.geometry.mean, net.geometry.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert net.geometry.any_size == (name != 'maxvit_t')
    assert TorchvisionClassifier('squeezenet1_1', img_size=(64, 96)).geometry.image == (64, 96)


def test_names_and_others():
    with pytest.raises(ValueError, match='Unknown model resnet19'):
        TorchvisionClassifier('resnet19')
    with pytest.raises(ValueError, match="TorchvisionClassifier wraps torchvision's classifiers, not Linear"):
        TorchvisionClassifier(nn.Linear(2, 2))


def test_a_classifier_that_was_taken_off():
    model = tiny('ShuffleNet')
    model.fc = nn.Identity()
    net = wrap_backbone(model)
    assert (net.geometry.classes, net.classifier) == (0, None)
    with pytest.raises(ValueError, match=r'IndexMapping reads the classes of the network, but .* was built without'):
        vptx.attach(model, BORDER, mapping=dict(type='IndexMapping', num_classes=2))


@pytest.mark.parametrize('name', ['googlenet', 'inception_v3'])
def test_auxiliary_classifiers_give_more_than_logits_in_training(name):
    with torch.device('meta'):
        model = models.get_model(name, aux_logits=True, init_weights=False)
        image = torch.empty(2, 3, 299, 299, device='meta')
        frozen = vptx.attach(model, tune=['fc']).train()
        assert frozen(image).shape == (2, 1000)
        whole = vptx.attach(vptx.detach(frozen), tune=['.*']).train()
        with pytest.raises(
            ValueError, match=rf'{type(model).__name__} gives . outputs in training.*aux_logits = False'
        ):
            whole(image)
        model.aux_logits = False
        assert whole(image).shape == (2, 1000)


def test_a_readout_of_what_is_no_map():
    with pytest.raises(ValueError, match=r"readout 'mean' cannot be served: .* called in one piece.*: logits"):
        vptx.attach(tiny('ShuffleNet'), BORDER, readout='mean')


def test_a_forward_of_its_own_is_called():
    class Twice(type(tiny('torchvision'))):
        def forward(self, x):
            return 2 * super().forward(x)

    model = tiny('torchvision')
    model.__class__ = Twice
    assert isinstance(wrap_backbone(model), WholeNet)
    torch.testing.assert_close(vptx.attach(model)(images()), 2 * tiny('torchvision')(images()))
    with pytest.raises(
        ValueError, match=r'no door tokens, only image, logits\. It is of the family of TorchvisionViT, but'
    ):
        vptx.attach(vptx.detach(vptx.attach(model)), dict(type='ShallowPrompter'))


def test_labels_are_mapped():
    mapping = dict(type='IndexMapping', num_classes=CLASSES - 2)
    model = vptx.attach(tiny('ShuffleNet'), BORDER, mapping=mapping)
    assert model.train()(images()).shape == (2, CLASSES - 2)
