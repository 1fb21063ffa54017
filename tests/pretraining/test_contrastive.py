"""Contrastive pre-training: the loss by its formula, the text as open_clip encodes it, a run that learns."""

import gzip
import re
from math import log
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from safetensors.torch import save_file

from vptx.backbones import TimmViT
from vptx.datasets.mini.captioned_scenes import QUESTIONS
from vptx.pretraining import ContrastivePretraining, ZeroShotAccuracy

ROOT = Path(__file__).parents[2]
VOCABULARY = ROOT / 'weights/clip_mini_vocabulary.txt.gz'
VISION = dict(image_size=64, patch_size=16, width=16, layers=1, head_width=8)
TEXT = dict(context_length=32, vocab_size=1644, width=8, layers=2, heads=2)


def tiny(**changes):
    return ContrastivePretraining(
        **{**dict(embed_dim=6, vision_cfg=VISION, text_cfg=TEXT, vocabulary=VOCABULARY), **changes}
    )


def test_the_loss_is_the_formula():
    model = tiny()
    f, z = (torch.nn.functional.normalize(torch.randn(5, 6), dim=-1) for _ in range(2))
    found = model.loss(f, z)
    logits = (1 / 0.07) * f.double() @ z.double().T
    rows, columns = (torch.logsumexp(logits, d) for d in (1, 0))
    assert found['loss'].item() == pytest.approx((rows + columns - 2 * logits.diag()).mean().item() / 2, rel=1e-5)
    assert found['found'].item() == pytest.approx(100 * (logits.argmax(1) == torch.arange(5)).double().mean().item())


def test_the_scale_stays_below_a_hundred():
    model = tiny()
    model.clip.logit_scale.data.fill_(9.0)
    f = torch.eye(6)
    assert model.loss(f, f)['scale'].item() == pytest.approx(100)
    assert model.clip.logit_scale.item() == pytest.approx(log(100))


def test_text_is_encoded_as_by_open_clip():
    model = tiny().eval()
    sentences = ['a red star', 'four tiny violet rhombi with stripes on an orange gridded ground at the left.', 'x']
    with torch.no_grad():
        torch.testing.assert_close(
            model.encode(sentences), model.clip.encode_text(model.tokenizer(sentences), normalize=True)
        )


def test_a_sentence_that_is_too_long():
    with pytest.raises(ValueError, match='is longer than the context of 32 tokens'):
        tiny().encode(['a red star', ' '.join(['red'] * 31)])
    assert tiny().encode([' '.join(['red'] * 30)]).shape == (1, 6)


def test_bad_vocabulary(tmp_path):
    with pytest.raises(ValueError, match=r'has 1644 tokens, and text_cfg\.vocab_size is 99'):
        tiny(text_cfg=dict(TEXT, vocab_size=99))
    with pytest.raises(FileNotFoundError, match=r'none\.gz'):
        tiny(vocabulary=tmp_path / 'none.gz')
    whole = VOCABULARY.read_bytes()
    for spoilt in (b'a b', b'', whole[:2000], whole[:60] + bytes(40) + whole[100:], gzip.compress(b'\xff\xfe')):
        (tmp_path / 'spoilt.gz').write_bytes(spoilt)
        with pytest.raises(ValueError, match=r'spoilt\.gz (is no gzipped vocabulary|has \d+ tokens)'):
            tiny(vocabulary=tmp_path / 'spoilt.gz')


def test_without_open_clip(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'open_clip.model', None)
    with pytest.raises(ImportError, match=re.escape("pip install 'vptx[clip]'")):
        tiny()


def test_the_image_tower_starts_from_a_network_of_timm(tmp_path):
    """Equal to it but for a norm in front, which is taken out here; the bias of patches is in the positions."""
    sizes = dict(embed_dim=16, depth=1, num_heads=2, patch_size=16)
    net = TimmViT('vit_mini_patch8_64', **sizes)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn_like(parameter) / 3)
    save_file(net.model.state_dict(), tmp_path / 'vit.safetensors')
    visual = dict(model='vit_mini_patch8_64', weights=str(tmp_path / 'vit.safetensors'), **sizes)
    tower = tiny(visual=visual).clip.visual.eval()
    tower.ln_pre = torch.nn.Identity()
    image = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(tower(image), net.model.eval()(image) @ tower.proj, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match='is of another size or kind than the image tower: class_embedding'):
        tiny(visual=dict(model='vit_mini_patch8_64', embed_dim=32, depth=1, num_heads=2, patch_size=16))


def test_predictions_are_the_nearest_answers():
    model = tiny().eval()
    images, samples = torch.randn(3, 3, 64, 64), [BaseDataElement() for _ in range(3)]
    with torch.no_grad():
        predicted = model(images, samples, mode='predict')
        features = model(images)
        for name, asked in QUESTIONS.items():
            names = [template.format(answer) for answer in asked.answers for template in asked.templates]
            mean = model.encode(names).unflatten(0, (len(asked.answers), -1)).mean(1)
            nearest = torch.cosine_similarity(features[:, None], mean[None], dim=-1).argmax(1)
            assert [sample.answers[name] for sample in predicted] == nearest.tolist()


def test_accuracy_counts_right_answers():
    scene = next(iter_scenes())
    right = {name: asked.answer(scene) for name, asked in QUESTIONS.items()}
    wrong = {name: (answer + 1) % 4 for name, answer in right.items()} | dict(colour=right['colour'])
    metric = ZeroShotAccuracy()
    metric.process({}, [dict(scene=scene, answers=right), dict(scene=scene, answers=wrong)])
    found = metric.compute_metrics(metric.results)
    assert found['colour'] == 100 and found['shape'] == 50
    assert found['mean'] == pytest.approx((100 + 6 * 50) / 7)


def iter_scenes():
    from vptx.datasets import CaptionedScenes

    yield CaptionedScenes(1).get_data_info(0)['scene']


def test_a_run(tmp_path):
    """Five iterations of the committed config by a Runner, narrow, then validation; the loss falls on one batch."""
    config = Config.fromfile(ROOT / 'configs/pretrain/clip_mini.py')
    config.model.vision_cfg.update(VISION, patch_dropout=0.5)
    config.model.text_cfg.update(TEXT)
    config.model.visual = None
    config.train_dataloader.update(batch_size=8)
    config.val_dataloader.update(batch_size=8)
    config.train_dataloader.dataset.length = config.val_dataloader.dataset.length = 8  # the same eight again and again
    config.train_cfg.update(max_iters=5, val_interval=5)
    config.default_hooks.logger.interval = 1
    config.param_scheduler = []
    config.optim_wrapper.optimizer.lr = 1e-2
    config.work_dir, config.experiment_name = str(tmp_path), tmp_path.name
    runner = Runner.from_cfg(config)
    before = runner.model.clip.visual.proj.detach().clone()
    runner.train()
    assert runner.iter == 5 and not torch.equal(runner.model.clip.visual.proj, before)
    losses = [value for value, _ in [runner.message_hub.get_scalar('train/loss').data] for value in value]
    assert len(losses) == 5 and losses[-1] < losses[0]
    scores = {name: runner.message_hub.get_scalar(f'val/zero_shot/{name}').current() for name in (*QUESTIONS, 'mean')}
    assert all(0 <= score <= 100 for score in scores.values())
