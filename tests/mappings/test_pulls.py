"""Terms of the loss that pull to the frozen towers: KgCoOp's and PromptSRC's, worked out from open_clip and timm."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from clips import image_tower, prompted, reference, tiny_clip
from networks import images
from torch import Tensor, nn

import vptx
from vptx.features.images import FrozenOutput, take_features
from vptx.mappings.pulls import Pull

WORDS = dict(type='ContextPrompter', num_tokens=2, words='a photo of a', depth=2)
DEEP = dict(type='DeepPrompter', num_tokens=2, embedded=True, init='normal')
SEVERAL = ['a drawing of a {}.', 'itap of a {}.']
PROMPTSRC = [
    dict(type='TextPull', weight=25.0, distance='l1', template=SEVERAL, average='raw'),
    dict(type='ImagePull', weight=10.0, distance='l1'),
    dict(type='LogitPull', template=SEVERAL, average='raw'),
]
IMAGES = {
    'deep': DEEP,
    'inside': dict(type='LoRA', rank=2),
    'pixels': dict(type='BorderPrompter', width=4),
    'stack': [dict(type='LoRA', rank=2), DEEP],
}


def trained(image=None, text=None, **options) -> nn.Module:
    """As after some training."""
    model = prompted(text or WORDS, image, **options).train()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def terms(model: nn.Module) -> dict[str, Tensor]:
    model(images(3))
    return model.mapping.loss()


def normalised(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


@torch.no_grad()
def hand_made(templates: list[str]) -> Tensor:
    """Of raw features, averaged and then normalised."""
    clip = tiny_clip()
    from clips import NAMES, tokenize

    each = [clip.encode_text(tokenize([text.format(name) for name in NAMES])) for text in templates]
    return normalised(sum(each) / len(each))


def test_kgcoop():
    """8 * (1 - mean of cosines) to the features of the head's own template."""
    model = trained(template='a drawing of a {}.', pulls=[dict(type='TextPull')])
    (term,) = terms(model).values()
    cosines = (model.mapping.text() * reference('a drawing of a {}.')).sum(-1)
    torch.testing.assert_close(term, 8 * (1 - cosines.mean()), rtol=1e-5, atol=1e-6)
    term.backward()
    assert model.mapping.text.prompter.context.grad.any()


def test_words_that_start_as_the_template_are_not_pulled():
    model = prompted(dict(type='ContextPrompter', words='a photo of a'), pulls=[dict(type='TextPull')])
    (term,) = terms(model.train()).values()
    assert abs(term.item()) < 1e-5


@pytest.mark.parametrize('kind', IMAGES)
def test_promptsrc(kind):
    """What the frozen network makes of the images is the library's, whatever the prompter acts on."""
    model = trained(IMAGES[kind], pulls=PROMPTSRC)
    found, image = terms(model), images(3)
    with torch.no_grad():
        ours, frozen = normalised(model.forward_unmapped(image)), normalised(image_tower()(image))
        texts, made = model.mapping.text(), hand_made(SEVERAL)
        scale = tiny_clip().logit_scale.exp()
        p, q = (scale * ours @ texts.T).softmax(-1), (scale * frozen @ made.T).softmax(-1)
    expected = dict(
        TextPull=25 * (texts - made).abs().mean(),
        ImagePull=10 * (ours - frozen).abs().mean(),
        LogitPull=(q * (q.log() - p.log())).sum() / p.numel(),
    )
    assert found.keys() == expected.keys() and min(expected.values()) > 1e-4
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)
    sum(found.values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)
    model.eval()
    assert torch.equal(model(image), deepcopy(model)(image))  # a copy has no graph, and is as good


def test_without_a_prompter_of_images_the_network_runs_once(monkeypatch):
    model = trained(pulls=[dict(type='ImagePull'), dict(type='LogitPull')])
    runs, embed = [], model.net.embed
    monkeypatch.setattr(model.net, 'embed', lambda image: runs.append(0) or embed(image))
    found = terms(model)
    assert len(runs) == 1 and found['ImagePull'] == 0 and found['LogitPull'] > 0


def test_of_cached_features_the_frozen_part_goes_on_without_prompts():
    """Where prompts are in the last layer alone, and a cache has what is before it."""
    late = dict(DEEP, layers=[-1])
    model, other = trained(late, pulls=PROMPTSRC), trained(late, pulls=PROMPTSRC)
    expected = terms(model)
    preprocessor = nn.Identity()
    take_features(other, preprocessor)
    other(FrozenOutput.of(other, images(3), 1))
    for name, term in other.mapping.loss().items():
        torch.testing.assert_close(term, expected[name], rtol=1e-5, atol=1e-6)
    assert expected['ImagePull'] > 1e-4


def test_nothing_is_computed_where_there_are_no_gradients(monkeypatch):
    model = trained(DEEP, pulls=PROMPTSRC).eval()
    with torch.no_grad():
        assert terms(model) == {}


def test_a_prompted_network_with_pulls_gives_what_it_gives_without():
    model = trained(DEEP, pulls=PROMPTSRC)
    assert torch.equal(model(images()), trained(DEEP)(images()))
    assert not trained(DEEP).mapping.adds_loss and model.mapping.adds_loss


def test_imagenet_is_a_name_for_80_templates():
    model = prompted(template='imagenet')
    assert len(model.mapping.text.templates) == 80
    assert torch.equal(prompted().mapping.text.frozen('imagenet'), model.mapping.text())


def test_pulls_that_cannot_be_meant():
    for pulls, message in [
        ([dict(type='TextPull', weight=0)], 'weight must be a number above 0, not 0'),
        ([dict(type='TextPull', distance='l2')], "distance must be one of cosine, l1, not 'l2'"),
        ([dict(type='TextPull', template='a photo')], 'a template is a text with one {}'),
        ([dict(type='LogitPull', average='mean')], "average must be one of normalised, raw, not 'mean'"),
        ([dict(type='TextPull'), dict(type='TextPull')], 'pulls has more than one TextPull'),
        ([dict(type='TextPul')], 'did you mean TextPull'),
    ]:
        with pytest.raises(ValueError, match=message):
            prompted(WORDS, pulls=pulls)
    with pytest.raises(ValueError, match='TextPull pulls features of classes, and nothing on the text side trains'):
        prompted(None, DEEP, pulls=[dict(type='TextPull')])
    with pytest.raises(NotImplementedError, match=r'Pull must define forward\(seen\)'):
        Pull(1.0)(None)


def test_a_network_whose_weights_train_is_no_frozen_one():
    mapping = prompted(WORDS, pulls=PROMPTSRC).mapping
    model = vptx.attach(image_tower(), DEEP, tune=['blocks.1'], mapping=mapping).train()
    with pytest.raises(ValueError, match=r'TextHead compares with the frozen network, and weights of .* train'):
        model(images())


def test_scores_of_the_teacher_have_no_gradient():
    model = trained(DEEP, pulls=[dict(type='LogitPull')])
    (term,) = terms(model).values()
    shift = F.softmax(model.mapping._seen.logits, -1) - F.softmax(
        model.mapping.score(model.mapping._seen.frozen_images, model.mapping.text.frozen()), -1
    )
    (gradient,) = torch.autograd.grad(term, model.mapping._seen.logits)
    torch.testing.assert_close(gradient, shift / shift.numel(), rtol=1e-4, atol=1e-7)
