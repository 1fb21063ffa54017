"""Prompts that are tuned for each test image: the numbers, and that nothing of it is left afterwards."""

from copy import deepcopy
from math import log

import numpy as np
import pytest
import runs
import torch
from clips import DEPTH, EMBED, prompted, tiny_clip
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS, init_default_scope
from networks import images
from safetensors.torch import save_file

import vptx
from vptx.attach import find_prompted_network
from vptx.datasets.pipeline import test_pipeline as pipeline_of
from vptx.datasets.random_views import RandomViews, with_views
from vptx.tpt import TPTModel, entropy, mean_entropy, tuned_logits

CONTEXT = dict(type='ContextPrompter', words='a photo of a')


def test_entropy():
    assert entropy(torch.zeros(2, 4)).tolist() == pytest.approx([log(4)] * 2)
    logits = torch.randn(1, 5)
    torch.testing.assert_close(mean_entropy(logits.expand(3, -1)), entropy(logits)[0])  # of equal views it is theirs
    several = torch.randn(6, 5)
    mean = several.softmax(1).mean(0)
    torch.testing.assert_close(mean_entropy(several), -(mean * mean.log()).sum())


def test_one_step_on_the_surest_views():
    """Against AdamW's first step spelt in its own way: lr * sign of the gradient, and weight decay."""
    model, views = prompted(CONTEXT), images(20)
    head, context = model.mapping, model.mapping.text.prompter.context
    x = model.forward_unmapped(views).detach()
    logits = head(x)
    order = (-(logits.softmax(1) * logits.log_softmax(1)).sum(1)).argsort()
    mean = logits[order[:4]].softmax(1).mean(0)
    (gradient,) = torch.autograd.grad(-(mean * mean.log()).sum(), context)
    expected = prompted(CONTEXT)
    with torch.no_grad():
        expected.mapping.text.prompter.context.mul_(1 - 0.01 * 0.1).sub_(0.1 * gradient / (gradient.abs() + 1e-8))
        found = tuned_logits(head, x, keep=0.2, lr=0.1)
        torch.testing.assert_close(found, expected(views[:1]), rtol=1e-4, atol=1e-4)
        assert (found - logits[:1]).abs().max() > 1e-2


@pytest.mark.parametrize('number, kept', [(64, 6), (20, 2), (5, 1)])
def test_how_many_views_count(number, kept, monkeypatch):
    seen = []
    monkeypatch.setattr('vptx.tpt.mean_entropy', lambda logits: seen.append(len(logits)) or mean_entropy(logits))
    tuned_logits(prompted(CONTEXT).mapping, torch.randn(number, EMBED))
    assert seen == [kept]


@pytest.mark.parametrize('prompter', [CONTEXT, dict(CONTEXT, depth=2), dict(type='ConditionalContextPrompter')])
def test_prompts_and_gradients_are_what_they_were(prompter):
    head, x = prompted(prompter).mapping, torch.randn(10, EMBED)
    learnt = list(head.text.prompter.parameters())
    for parameter in learnt:
        parameter.grad = torch.ones_like(parameter)
    before, logits = [(p.clone(), p.grad) for p in learnt], head(x)
    first = tuned_logits(head, x, lr=0.1)
    assert (first - logits[:1]).abs().max() > 1e-3
    assert torch.equal(tuned_logits(head, x, lr=0.1), first)  # the optimizer has forgotten the image, too
    assert all(torch.equal(p, value) and p.grad is gradient for p, (value, gradient) in zip(learnt, before))
    assert torch.equal(head(x), logits)
    head.score = None  # what fails in the middle leaves nothing behind
    with pytest.raises(TypeError):
        tuned_logits(head, x)
    assert all(torch.equal(p, value) for p, (value, _) in zip(learnt, before))


# Views

PACK = dict(type='PackInputs')


def views(seed=0, number=6, image=None):
    init_default_scope('mmpretrain')
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8) if image is None else image
    make = RandomViews([dict(type='Resize', scale=(16, 16))], PACK, number, seed)
    return make(dict(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2], sample_idx=0))


def test_views_are_the_image_and_crops_of_its_size_by_the_seed():
    found = views()
    assert [view.shape for view in found['inputs']] == [(3, 16, 16)] * 6 and len(found['data_samples']) == 6
    state = np.random.get_state()[1].copy()
    assert all(map(torch.equal, found['inputs'], views()['inputs']))
    assert np.array_equal(np.random.get_state()[1], state)
    others = views(seed=1)['inputs']
    assert torch.equal(others[0], found['inputs'][0])
    assert not any(map(torch.equal, others[1:], found['inputs'][1:]))
    assert len({view.numpy().tobytes() for view in found['inputs']}) == 6


def test_a_pipeline_with_views():
    load, resize = dict(type='LoadImageFromFile'), dict(type='Resize', scale=8)
    expected = dict(type='RandomViews', prepare=[resize], pack=PACK, number=64, seed=0)
    assert with_views([load, resize, PACK]) == [load, expected]
    assert with_views([resize, PACK]) == [expected]
    for pipeline in ([], [load, resize]):
        with pytest.raises(ValueError, match='ends in dict'):
            with_views(pipeline)
    with pytest.raises(ValueError, match='number must be a whole number of views'):
        views(number=0)


# In a run


@METRICS.register_module(force=True)
class EachScore(BaseMetric):
    """The scores of every image, by its path."""

    def process(self, data_batch, data_samples) -> None:
        self.results += [(sample['img_path'], sample['pred_score'].tolist()) for sample in data_samples]

    def compute_metrics(self, results: list) -> dict:
        return dict(results)


@pytest.fixture
def changes(tmp_path):
    weights = tmp_path / 'clip.safetensors'
    save_file({name: tensor.contiguous() for name, tensor in tiny_clip().state_dict().items()}, weights)
    vit = runs.write_weights(tmp_path / 'vit.pth', num_classes=EMBED)
    tower = dict(width=32, heads=2, layers=DEPTH, embed=EMBED, pretrained=str(weights))
    mapping = dict(type='TextHead', tower=tower, classes=list(runs.CLASSES), prompter=CONTEXT)
    return {
        'model.head': dict(_delete_=True, type='ClsHead', loss=dict(type='CrossEntropyLoss')),
        'model.backbone.net': runs.net(num_classes=EMBED, weights=str(vit)),
        'hooks': [dict(type='PromptTuningHook', mapping=mapping)],
    }


def test_the_test_of_a_run_by_its_tta_model(changes, tmp_path):
    tuned = deepcopy(changes)
    config = Config(runs.tiny_config(tmp_path, **deepcopy(changes)))
    tuned['test_dataloader.dataset.pipeline'] = with_views(pipeline_of(config), 8)
    tuned['hooks'].append(dict(type='PrepareTTAHook', tta_cfg=dict(type='TPTModel', lr=0.5)))
    found = []
    for options in (changes, tuned, tuned):
        run = runs.runner(tmp_path / 'work', **deepcopy(options), test_evaluator=[dict(type='EachScore')])
        found.append(run.test())
        context = find_prompted_network(run.model).mapping.text.prompter.context
        assert torch.equal(context, find_prompted_network(run.model).mapping.text.net.word_vectors('a photo of a'))
    plain, first, second = found
    assert first == second  # deterministic
    assert first.keys() == plain.keys() and first != plain


def test_what_has_no_prompts_to_tune(changes, tmp_path):
    with pytest.raises(ValueError, match='has nothing that could be tuned for an image: give it a text prompter'):
        tuned_logits(prompted().mapping, torch.randn(4, EMBED))
    changes['hooks'][0]['mapping']['prompter'] = None
    model = vptx.init_model(Config(runs.tiny_config(tmp_path, **changes)))
    assert TPTModel(model).network is find_prompted_network(model)
    with pytest.raises(ValueError, match='in a text head, which ImageClassifier does not have'):
        _ = TPTModel(vptx.init_model(Config(runs.tiny_config(tmp_path)))).network
    for options in (dict(keep=0), dict(keep=2), dict(steps=0)):
        with pytest.raises(ValueError, match=r'keep must be a share|steps must be a whole number'):
            TPTModel(model, **options)
