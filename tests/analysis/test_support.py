"""What goes with what: told by the doors, and as the documentation says."""

from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS

import vptx
from vptx.analysis import support
from vptx.prompters import Prompter
from vptx.registry import NETS, PROMPTERS

ROOT = Path(__file__).parent.parent.parent
pytest.importorskip('mmseg')  # two of the nets
pytest.importorskip('transformers', reason='transformers 5 needs Python 3.11')  # three of them


@pytest.fixture(scope='module')
def printed():
    return support.markdown()


def rows(text: str, number: int) -> dict[str, list[str]]:
    """One of the tables: cells by the first of their row."""
    tables = [part for part in text.split('\n\n') if part.startswith('|')]
    lines = [[cell.strip() for cell in line.strip('|').split('|')] for line in tables[number].splitlines()]
    return {line[0].strip('`'): line[1:] for line in lines}


def test_the_documentation_has_what_the_tool_prints(printed):
    assert printed in (ROOT / 'docs' / 'networks.md').read_text(), (
        'put the output of python tools/list.py into docs/networks.md'
    )


def test_everything_registered_is_there(printed):
    assert list(rows(printed, 0))[2:] == sorted(PROMPTERS.module_dict)
    assert list(rows(printed, 1))[2:] == sorted(NETS.module_dict)
    assert set(rows(printed, 2)) - {'', '---'} == set(PROMPTERS.module_dict)


def test_the_doors_of_some(printed):
    table = rows(printed, 2)
    nets = [cell.strip('`') for cell in table['']]
    found = {name: dict(zip(nets, cells, strict=True)) for name, cells in table.items()}
    assert found['DeepPrompter']['TimmSwin'] == 'memory'
    assert found['ShallowPrompter']['TimmEva'] == 'tokens'
    assert found['DeepPrompter']['TimmClassifier'] == '-'
    assert found['PadPrompter']['TimmClassifier'] == 'image'
    assert found['LoRA']['TimmViT'] == 'inside'
    assert found['PadPrompter']['TimmBeit'].startswith('no (')


def test_a_new_prompter_is_met_by_its_doors():
    class Everywhere(Prompter):
        """Of a user."""

        doors = frozenset({'image', 'inside'})

    nets = support.nets()
    assert support.meet(Everywhere, support.example(nets['TimmViT'])) == (Everywhere.doors, '')
    uses, refusal = support.meet(Everywhere, support.example(nets['TimmClassifier']))
    assert not uses and 'has no door inside' in refusal


def test_a_library_that_is_not_installed_is_said(monkeypatch):
    def build(config, *others, **more):
        raise ImportError('no mmseg')

    monkeypatch.setattr(MODELS, 'build', build)
    assert 'MMSegViT is left out: no mmseg' in support.markdown()


def test_a_network_that_no_file_knows():
    with pytest.raises(ValueError, match=r'no backbone wrapper supports torch\.nn\.modules\.linear\.Linear') as error:
        vptx.attach(torch.nn.Linear(2, 2), dict(type='DeepPrompter'))
    assert all(name in str(error.value) for name in NETS.module_dict)
    assert 'CONTRIBUTING.md, "Add a network"' in str(error.value)
    assert '## Add a network' in (ROOT / 'CONTRIBUTING.md').read_text()


@pytest.mark.slow
def test_the_tool_prints_it(printed, start, tmp_path):
    status, output = start('list', log=tmp_path / 'log')
    assert status == 0 and output.endswith(f'{printed}\n')


def test_models_of_timm_are_counted_by_class_and_door():
    found = rows(support.timm_markdown(['resnet18', 'resnet34', 'vit_tiny_patch16_224', 'mobilenetv5_300m_enc']), 0)
    assert found['class of timm'] == ['net', 'models', 'image', 'tokens', 'memory', 'inside', 'logits']
    assert found['ResNet'] == ['`TimmClassifier`', '2', '2', '0', '0', '0', '2']
    assert found['VisionTransformer'] == ['`TimmViT`', '1', '1', '1', '1', '1', '1']
    assert found['all'] == ['', '3', '3', '1', '1', '1', '3']


def test_models_of_timm_without_a_net_are_named_with_the_reason():
    printed = support.timm_markdown(['mobilenetv5_300m_enc', 'resnet18'])
    assert printed.startswith('1 of 2 models of timm have a net.')
    assert (
        '`mobilenetv5_300m_enc`: no backbone wrapper supports timm.models.mobilenetv5.MobileNetV5Encoder. It' in printed
    )
    assert 'Available' not in printed


@pytest.mark.slow
def test_the_documentation_counts_the_models_of_timm(start, tmp_path):
    status, printed = start('list', '--timm', log=tmp_path / 'log')
    table = printed[printed.index('1364 of 1371 models of timm') :]
    assert status == 0
    assert table.strip() in (ROOT / 'docs' / 'networks.md').read_text(), (
        'put the output of python tools/list.py --timm into docs/networks.md'
    )
