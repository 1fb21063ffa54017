"""The prediction tool with class names: other classes, no prompt file, words that are shown, words for each image."""

import csv
import sys

import numpy as np
import pytest
import runs
import torch
from clips import DEPTH, EMBED, NAMES, prompted, tiny_clip
from mmengine.config import Config
from PIL import Image
from safetensors.torch import save_file

import vptx
from vptx.analysis.prompt_words import near_words, words_table
from vptx_cli import main

CONTEXT = dict(type='ContextPrompter', words='a photo of a')


@pytest.fixture
def predict(tmp_path, monkeypatch, capsys):
    """Writes config and prompt file of a CLIP with a prompter, calls the tool, returns its table and what it says."""
    (tmp_path / 'images').mkdir()
    noise = np.random.default_rng(0)
    for index in range(3):
        Image.fromarray(noise.integers(0, 255, (16, 16, 3)).astype(np.uint8)).save(tmp_path / 'images' / f'{index}.png')
    weights = tmp_path / 'clip.safetensors'
    save_file({name: tensor.contiguous() for name, tensor in tiny_clip().state_dict().items()}, weights)
    vit = runs.write_weights(tmp_path / 'vit.pth', num_classes=EMBED)
    tower = dict(width=32, heads=2, layers=DEPTH, embed=EMBED, pretrained=str(weights))

    def call(prompter, *arguments, file=None, mapping='TextHead', image=None, **options):
        options.setdefault('classes', list(runs.CLASSES))
        mapping = dict(type=mapping, tower=tower, prompter=prompter, **options)
        path = runs.write_config(
            tmp_path / 'config.py',
            tmp_path,
            hooks=[dict(type='PromptTuningHook', mapping=mapping, prompter=image)],
            **{
                'model.head': dict(_delete_=True, type='ClsHead', loss=dict(type='CrossEntropyLoss')),
                'model.backbone.net': runs.net(num_classes=EMBED, weights=str(vit)),
            },
        )
        if file is None:
            file = tmp_path / 'p.safetensors'
            vptx.save_prompt(vptx.init_model(Config.fromfile(path)), file)
        out = tmp_path / 'out'
        monkeypatch.setattr(
            'sys.argv', ['predict.py', *map(str, [path, file, tmp_path / 'images', *arguments, '--out-dir', out])]
        )
        capsys.readouterr()
        main('predict')
        with (out / 'predictions.csv').open() as table:
            return list(csv.DictReader(table)), capsys.readouterr().out

    return call


def test_other_classes_without_training(predict):
    rows, _ = predict(CONTEXT, '--scores', '--classes', 'a cat', 'an owl', 'x', 'y')
    assert [name for name in rows[0] if name.startswith('score of')] == [
        f'score of {name}' for name in ('a cat', 'an owl', 'x', 'y')
    ]
    assert {row['class'] for row in rows} <= {'a cat', 'an owl', 'x', 'y'} and len(rows) == 3
    assert sum(float(rows[0][f'score of {name}']) for name in ('a cat', 'an owl', 'x', 'y')) == pytest.approx(1)
    rows, _ = predict(CONTEXT, '--scores')
    assert [f'score of {name}' in rows[0] for name in runs.CLASSES] == [True] * 3


def test_zero_shot_without_a_prompt_file(predict):
    rows, _ = predict(None, '--classes', 'a cat', 'an owl', file='none')
    assert {row['class'] for row in rows} <= {'a cat', 'an owl'}
    with pytest.raises(SystemExit, match=r'without a prompt file backbone.mapping.text.prompter.context would be'):
        predict(CONTEXT, file='none')
    with pytest.raises(SystemExit, match='the TipAdapterHead would be as they were drawn'):
        predict(None, file='none', mapping='TipAdapterHead', num_images=3)


def test_names_are_those_of_the_file_where_the_config_has_none(predict, tmp_path):
    predict(CONTEXT)
    rows, _ = predict(CONTEXT, file=tmp_path / 'p.safetensors', classes=None)
    assert {row['class'] for row in rows} <= set(runs.CLASSES)
    rows, _ = predict(CONTEXT, '--classes', 'owl', 'cat', file=tmp_path / 'p.safetensors', classes=None)
    assert {row['class'] for row in rows} <= {'owl', 'cat'}
    with pytest.raises(SystemExit, match='neither the config nor the prompt file names classes for the text head'):
        predict(None, file='none', classes=None)


def test_words_for_each_image(predict):
    rows, _ = predict(CONTEXT, '--tpt', '--scores', file='none')
    again, _ = predict(CONTEXT, '--tpt', '--scores', file='none')
    plain, _ = predict(CONTEXT, '--scores')
    assert rows == again and rows != plain
    with pytest.raises(SystemExit, match='has nothing that could be tuned'):
        predict(None, '--tpt')


def test_words_are_shown(predict, tmp_path):
    _, text = predict(CONTEXT, '--show-prompt')
    lines = [line for line in text.split('\n') if line.startswith('vector')]
    assert [line.split(': ')[1].split(' ')[0] for line in lines] == ['a', 'photo', 'of', 'a']
    assert all('(0.0000)' in line for line in lines)
    with (tmp_path / 'out' / 'prompt_words.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 3 and rows[3] == {
        'class': '',
        'vector': '2',
        'rank': '1',
        'word': 'photo',
        'distance': '0.000000',
    }
    assert not (tmp_path / 'out' / 'prompt.png').exists()
    _, text = predict(CONTEXT, '--show-prompt', image=dict(type='BorderPrompter', width=2))
    assert 'vector 1: a (' in text and (tmp_path / 'out' / 'prompt.png').exists()
    with pytest.raises(SystemExit, match=r'--show-prompt: Prompter has no learnt pixels .*; there is no'):
        predict(None, '--show-prompt')


@pytest.mark.parametrize(
    'classes, message',
    [(['a', ' '], "' ' is none"), (['owl ' * 80], 'is too long: with the words around it')],
)
def test_names_that_cannot_be_read(predict, classes, message):
    with pytest.raises(SystemExit, match=message):
        predict(CONTEXT, '--classes', *classes)


def test_classes_of_their_own(predict, tmp_path):
    with pytest.raises(SystemExit, match='has learnt vectors for each of its 3 classes'):
        predict(dict(CONTEXT, class_specific=True), '--classes', 'owl')


def test_without_open_clip(predict, monkeypatch):
    predict(CONTEXT)
    monkeypatch.setitem(sys.modules, 'open_clip', None)
    with pytest.raises(SystemExit, match=r"which is not installed: pip install 'vptx\[clip\]'"):
        predict(CONTEXT, file='none')


def test_a_model_without_a_text_head(tmp_path):
    model = vptx.init_model(Config(runs.tiny_config(tmp_path)))
    with pytest.raises(ValueError, match='ImageClassifier reads no class names: other classes need a text head'):
        vptx.set_classes(model, ['owl'])


# The words themselves


def test_distances_are_those_of_the_table_of_words():
    model = prompted(dict(type='ContextPrompter', num_tokens=2))
    net, context = model.mapping.text.net, model.mapping.text.prompter.context.detach()
    table = net.model.token_embedding.weight
    lines = near_words(model, 5)
    for vector, line in zip(context, lines, strict=True):
        far = (table - vector).norm(dim=1).sort()
        torch.testing.assert_close(torch.tensor(line.distances), far.values[:5], rtol=1e-5, atol=1e-6)
        names = [net.tokenizer.decode([token]).strip() for token in far.indices[:5].tolist()]
        assert [word.removesuffix('-') for word in line.words] == names
    assert [line.vector for line in lines] == [1, 2]


def test_each_class_has_its_lines_and_parts_of_words_a_hyphen():
    model = prompted(dict(CONTEXT, class_specific=True))
    lines = near_words(model, 1)
    assert [line.name for line in lines[::4]] == list(NAMES)
    assert words_table(lines).split('\n')[1] == 'cat: vector 2: photo (0.0000)'
    model = prompted(dict(type='ConditionalContextPrompter', words='photorealism'))  # of two parts
    (line,) = near_words(model, 1)
    pieces = model.mapping.text.net.tokenizer.encode('photorealism')
    assert len(pieces) > 1 and line.words[0].endswith('-') and 'photorealism'.startswith(line.words[0][:-1])
    deep = dict(type='DeepPrompter', num_tokens=2)
    with pytest.raises(ValueError, match='there is no text head with learnt words'):
        near_words(prompted(deep))
