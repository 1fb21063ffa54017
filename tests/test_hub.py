"""Prompt files by an address on a hub: huggingface_hub itself asks a stand-in of the hub on this machine."""

import json
import re
import sys

import pytest
import torch
import yaml
from hub import TOKEN, serving, use
from huggingface_hub.utils import _http
from mmengine.runner import CheckpointLoader
from networks import tiny
from runs import CLASSES, newest, runner, write_config, write_weights
from runs import net as tiny_net
from safetensors.torch import save

import vptx
from vptx.hub import Address, fetch
from vptx.model_card import model_card
from vptx.prompt_file import read_prompt
from vptx_cli import main

NAMES = list('tuvwxyz')  # of the seven classes of the tiny networks


def prompted(network: str = 'plain', num_tokens: int = 3):
    return vptx.attach(tiny(network), dict(type='DeepPrompter', num_tokens=num_tokens), tune=['head'])


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with serving() as found:
        use(found.url, tmp_path / 'cache', monkeypatch)
        monkeypatch.setattr(_http.time, 'sleep', lambda seconds: None)  # it waits before it asks again
        yield found


@pytest.fixture(scope='module')
def content(tmp_path_factory):
    """Of a prompt file."""
    path = tmp_path_factory.mktemp('saved') / 'prompt.safetensors'
    torch.manual_seed(1)
    vptx.save_prompt(prompted(), path, classes=NAMES)
    return path.read_bytes()


def test_a_file_on_the_hub_is_loaded_and_its_commit_is_said(hub, content, capsys):
    commit = hub.add('user/letters', {'prompt.safetensors': content})
    model = prompted()
    facts = vptx.load_prompt(model, 'hf://user/letters')
    pinned = f'hf://user/letters@{commit}/prompt.safetensors'
    assert facts['address'] == pinned and facts['classes'] == NAMES
    assert f'hf://user/letters is {pinned}' in capsys.readouterr().out
    found = read_prompt(fetch(pinned)[0])[0]
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in found.items())


def test_a_commit_stays_what_it_is_and_needs_no_network_again(hub, content):
    first = hub.add('user/letters', {'prompt.safetensors': content})
    pinned = f'hf://user/letters@{first}'
    path, address = fetch(pinned)
    second = hub.repositories['user/letters'].commit({'prompt.safetensors': content + b' '})
    assert fetch('hf://user/letters@main')[1] == f'hf://user/letters@{second}/prompt.safetensors'
    hub.asked.clear()
    assert fetch(pinned) == (path, address) and path.read_bytes() == content
    assert not hub.asked


def test_without_a_network_a_branch_is_what_it_was(hub, content):
    hub.add('user/letters', {'prompt.safetensors': content})
    known = fetch('hf://user/letters')
    hub.down = True
    assert fetch('hf://user/letters') == known


def test_a_file_within_and_a_branch(hub, content):
    hub.add('user/letters', {'README.md': b''})
    commit = hub.repositories['user/letters'].commit({'deep/one.safetensors': content}, 'other')
    path, address = fetch('hf://user/letters@other/deep/one.safetensors')
    assert path.read_bytes() == content and address == f'hf://user/letters@{commit}/deep/one.safetensors'


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('hf://letters', 'no address of a prompt file.*hf://user/name'),
        ('hf://', 'no address of a prompt file'),
        ('hf://user/letters@', 'no address of a prompt file'),
        ('hf://user/../letters', 'no address of a prompt file|refused'),
        ('hf://datasets/user/letters', 'address of a dataset'),
        (
            'hf://user/letters/epoch_3.pth',
            r'refused: .*ends in \.safetensors, which cannot hold code, not epoch_3\.pth',
        ),
        ('hf://user/letters/../../etc/passwd.safetensors', 'no address of a prompt file|refused'),
    ],
)
def test_what_is_no_address_asks_nothing(hub, text, said):
    with pytest.raises(ValueError, match=said) as error:
        vptx.load_prompt(prompted(), text)
    assert str(error.value).startswith(text) and not hub.asked


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('hf://user/nothing', 'there is no model user/nothing on http.*log in with `hf auth login`, or set HF_TOKEN'),
        ('hf://user/private', 'there is no model user/private on http.*or it is private'),
        ('hf://user/gated', 'access to it has to be granted. Ask for it on http.*/user/gated'),
        ('hf://user/letters@v9', 'user/letters has no branch, tag or commit v9'),
        (
            'hf://user/letters/b.safetensors',
            r'has no b\.safetensors; it has hf://user/letters/prompt\.safetensors: name',
        ),
        ('hf://user/empty', r'user/empty has no prompt\.safetensors, nor another \.safetensors file'),
    ],
)
def test_what_is_not_there(hub, content, text, said):
    hub.add('user/letters', {'prompt.safetensors': content})
    hub.add('user/private', {'prompt.safetensors': content}, private=True)
    hub.add('user/gated', {'prompt.safetensors': content}, gated=True)
    hub.add('user/empty', {'README.md': b''})
    with pytest.raises(FileNotFoundError, match=said) as error:
        vptx.load_prompt(prompted(), text)
    assert str(error.value).startswith(f'{text}: ') and '\n' not in str(error.value)


def test_a_private_one_with_a_token_and_with_a_wrong_one(hub, content, monkeypatch):
    hub.add('user/private', {'prompt.safetensors': content}, private=True)
    monkeypatch.setenv('HF_TOKEN', TOKEN)
    assert vptx.load_prompt(prompted(), 'hf://user/private')['classes'] == NAMES
    monkeypatch.setenv('HF_TOKEN', 'hf_of_another')
    hub.repositories['user/private'].commit({'a': b''})
    with pytest.raises(FileNotFoundError, match='refuses it with status 401'):
        fetch('hf://user/private@main/other.safetensors')


@pytest.mark.parametrize('fault', ['no network', 'the hub fails', 'offline'])
def test_no_network(hub, fault, monkeypatch):
    if fault == 'no network':
        use('http://127.0.0.1:9', 'cache', monkeypatch)  # nothing listens there
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', fault == 'offline')
    hub.down = True
    with pytest.raises(
        FileNotFoundError, match=r'hf://user/letters: http.* cannot be asked, and the file is not in'
    ) as error:
        fetch('hf://user/letters')
    assert '\n' not in str(error.value)
    monkeypatch.setenv('HF_TOKEN', TOKEN)
    with pytest.raises(FileNotFoundError, match=r'http.* cannot be asked, and nothing was uploaded'):
        vptx.push_to_hub(prompted(), 'user/letters')


@pytest.mark.parametrize(
    ('network', 'num_tokens', 'said'),
    [
        ('swin', 3, 'belongs to the network'),
        ('plain', 4, 'does not fit this model'),
        ('other', 3, 'other frozen weights'),
    ],
)
def test_a_file_of_another_model(hub, content, network, num_tokens, said):
    hub.add('user/letters', {'prompt.safetensors': content})
    model = prompted('plain' if network == 'other' else network, num_tokens)
    if network == 'other':
        with torch.no_grad():
            model.net.model.blocks[0].norm1.weight.add_(1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=said) as error:
        vptx.load_prompt(model, 'hf://user/letters')
    assert str(error.value).startswith('hf://user/letters@')
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ('spoilt', 'said'),
    [
        (b'\x80\x04cos\nsystem\n', 'not a safetensors file'),
        (save({'a': torch.zeros(2)}), 'no prompt file of vptx'),
        (b'', 'not a safetensors file'),
    ],
)
def test_a_file_that_is_no_prompt_file(hub, spoilt, said):
    commit = hub.add('user/letters', {'prompt.safetensors': spoilt})
    with pytest.raises(ValueError, match=said) as error:
        vptx.load_prompt(prompted(), 'hf://user/letters')
    assert commit in str(error.value)


def test_nothing_but_the_file_is_fetched(hub, content):
    hub.add('user/letters', {'prompt.safetensors': content, 'config.json': b'{}', 'modeling.py': b'1 / 0'})
    vptx.load_prompt(prompted(), 'hf://user/letters')
    assert {asked.rpartition('/')[2] for asked in hub.asked} == {'prompt.safetensors'}


def test_a_commit_may_be_required(hub, content, monkeypatch):
    commit = hub.add('user/letters', {'prompt.safetensors': content})
    monkeypatch.setenv('VPTX_HUB_PINNED', '1')
    for text in ('hf://user/letters', 'hf://user/letters@main', f'hf://user/letters@{commit[:8]}'):
        with pytest.raises(ValueError, match=r'asks for a commit, hf://user/letters@ and its 40 digits'):
            vptx.load_prompt(prompted(), text)
    vptx.load_prompt(prompted(), f'hf://user/letters@{commit}')


@pytest.mark.parametrize('lie', [0, 3_000_000])
def test_a_large_file_is_refused_before_it_is_downloaded(hub, lie, monkeypatch):
    hub.add('user/letters', {'prompt.safetensors': b'0' * (10 if lie else 3_000_000)})
    hub.lies_of_size = lie
    monkeypatch.setenv('VPTX_HUB_LIMIT', '2')
    with pytest.raises(ValueError, match='refused: it has 3 MB, and VPTX_HUB_LIMIT is 2'):
        vptx.load_prompt(prompted(), 'hf://user/letters')
    assert not any(re.match('GET .*/resolve/', asked) for asked in hub.asked), hub.asked
    monkeypatch.setenv('VPTX_HUB_LIMIT', 'much')
    with pytest.raises(ValueError, match='VPTX_HUB_LIMIT=much: it is a whole number of MB'):
        fetch('hf://user/letters')


# Upload


def card(hub, name: str) -> tuple[dict, str]:
    """Metadata and text of a model card."""
    repository = hub.repositories[name]
    _, head, text = repository.commits[repository.branches['main']]['README.md'].decode().split('---\n', 2)
    return yaml.safe_load(head), text


def test_a_model_goes_to_the_hub_and_comes_back(hub, monkeypatch):
    monkeypatch.setenv('HF_TOKEN', TOKEN)
    model = prompted()
    with torch.no_grad():
        model.prompter.embedding.rows[0].add_(1)
    address = vptx.push_to_hub(model, 'user/letters', classes=NAMES, private=True)
    assert Address(address).is_pinned and hub.repositories['user/letters'].private
    other = prompted()
    assert vptx.load_prompt(other, address)['classes'] == NAMES
    assert torch.equal(other.prompter.embedding.rows[0], model.prompter.embedding.rows[0])


def test_the_card_says_what_is_in_the_file(hub, content, tmp_path, monkeypatch):
    monkeypatch.setenv('HF_TOKEN', TOKEN)
    path = tmp_path / 'prompt.safetensors'
    path.write_bytes(content)
    config = "weights = 'timm://vit_base_patch16_224.mae'"
    model = prompted()
    vptx.load_prompt(model, path)
    vptx.save_prompt(model, path, config=config, classes=NAMES)
    (tmp_path / 'metrics.json').write_text(json.dumps({'accuracy/top1': 91.25, 'confusion_matrix/result': [[1]]}))
    vptx.push_to_hub(
        path,
        'user/letters',
        results=tmp_path / 'metrics.json',
        command='vptx test mini/letters prompt.safetensors',
        seeds=[3],
        data='Letters',
        license='apache-2.0',
        tags=['letters'],
    )
    data, text = card(hub, 'user/letters')
    assert data['library_name'] == 'vptx' and data['base_model'] == 'timm/vit_base_patch16_224.mae'
    assert data['license'] == 'apache-2.0' and data['metrics'] == ['accuracy']
    assert data['pipeline_tag'] == 'image-classification' and {'vptx', 'DeepPrompter', 'letters'} <= set(data['tags'])
    (result,) = data['model-index'][0]['results']
    assert result['metrics'][0]['value'] == 91.25 and result['dataset']['name'] == 'Letters'
    numbers = sum(tensor.numel() for tensor in read_prompt(path)[0].values())
    for said in (
        'classification of images, 7 classes',
        f'{numbers:,} numbers',
        'num_tokens=3',
        '| accuracy/top1 | 91.25 | 1 | 3 | Letters |',
        'vptx test mini/letters prompt.safetensors',
        'hf://user/letters',
        't, u, v, w, x, y, z',
        config,
    ):
        assert said in text


def test_a_card_that_is_there_stays_and_can_be_written_again(hub, content, tmp_path, monkeypatch):
    monkeypatch.setenv('HF_TOKEN', TOKEN)
    path = tmp_path / 'prompt.safetensors'
    path.write_bytes(content)
    hub.add('user/letters', {'README.md': b'---\nlicense: mit\n---\nmine'})
    vptx.push_to_hub(path, 'user/letters')
    assert card(hub, 'user/letters')[1] == 'mine'
    vptx.push_to_hub(path, 'user/letters', card=True)
    assert 'Not given.' in card(hub, 'user/letters')[1]


def test_the_results_of_an_experiment_are_those_of_its_model(hub, content, tmp_path, monkeypatch):
    monkeypatch.setenv('HF_TOKEN', TOKEN)
    rows = [
        dict(leaf='deep', task='Letters', test=[90.0, 92.0], metric='accuracy', point={}),
        dict(leaf='linear', task='Letters', test=[50.0, 52.0], metric='accuracy', point={}),
    ]
    (tmp_path / 'results.json').write_text(json.dumps(rows))
    head = 'config,task,split,seed,score,trained,seconds,megabytes,kilobytes\n'
    lines = [f'deep,Letters,test,{seed},9{seed}.0,1,1,1,1\n' for seed in (0, 2)]
    (tmp_path / 'trials.csv').write_text(head + ''.join(lines) + 'linear,Letters,test,7,50.0,1,1,1,1\n')
    path = tmp_path / 'deep' / 'Letters' / 'final' / 'lr=1' / 'seed0' / 'prompt.safetensors'
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    vptx.push_to_hub(path, 'user/letters', results=tmp_path / 'results.json')
    assert '| accuracy | 91.00, 90.00 to 92.00 | 2 | 0, 2 | Letters |' in card(hub, 'user/letters')[1]
    with pytest.raises(ValueError, match=r'results\.json has results of several models.*deep/Letters, linear/Letters'):
        vptx.push_to_hub(prompted(), 'user/letters', results=tmp_path / 'results.json')
    (path.parent / 'result.json').write_text(json.dumps(dict(point={}, score=90.0, seed=5, figures={'mIoU': 90.0})))
    vptx.push_to_hub(path, 'user/letters', results=path.parent / 'result.json', card=True)
    assert '| mIoU | 90.00 | 1 | 5 | not given |' in card(hub, 'user/letters')[1]


def broken(tmp_path, content):
    (tmp_path / 'prompt.safetensors').write_bytes(content)
    (tmp_path / 'none.json').write_text('{"epoch": "three"}')
    (tmp_path / 'other.safetensors').write_bytes(save({'a': torch.zeros(2)}))
    return tmp_path


@pytest.mark.parametrize(
    ('token', 'source', 'repository', 'options', 'said'),
    [
        ('', 'prompt.safetensors', 'user/letters', {}, 'there is no token to write with: log in'),
        ('hf_wrong', 'prompt.safetensors', 'user/letters', {}, 'refuses it with status 401'),
        (TOKEN, 'prompt.safetensors', 'another/letters', {}, 'refuses it with status 403|there is no model'),
        (TOKEN, 'other.safetensors', 'user/letters', {}, 'no prompt file of vptx'),
        (TOKEN, 'nothing.safetensors', 'user/letters', {}, r'there is no file .*nothing\.safetensors'),
        (TOKEN, 'prompt.safetensors', 'letters', {}, "no address of a prompt file|it is 'user/name'"),
        (TOKEN, 'prompt.safetensors', 'user/letters', dict(file='a.pth'), r'ends in \.safetensors'),
        (TOKEN, 'prompt.safetensors', 'user/letters', dict(results='none.json'), 'has no results: expected numbers'),
    ],
)
def test_what_cannot_be_uploaded(hub, content, tmp_path, monkeypatch, token, source, repository, options, said):
    monkeypatch.chdir(broken(tmp_path, content))
    monkeypatch.setenv('HF_TOKEN', token)
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        vptx.push_to_hub(source, repository, **options)
    assert not hub.repositories


@pytest.mark.parametrize(
    ('tensor', 'mapping', 'task'),
    [
        ('outside.decode_head.conv.weight', 'LabelMapping', 'image-segmentation'),
        ('prompter.rows', 'TextHead', 'zero-shot-image-classification'),
    ],
)
def test_the_task_of_a_card_is_what_the_file_is_of(tensor, mapping, task):
    facts = dict(network='vit', prompter='DeepPrompter', prompts=[], fingerprint='ab', mapping=dict(type=mapping))
    text = model_card('user/x', {tensor: torch.zeros(2)}, facts | dict(classes=['a|b', '<i>\nc']))
    assert f'pipeline_tag: {task}' in text and 'a\\|b, &lt;i> c' in text
    assert ('label mapping' in text) == (mapping != 'LabelMapping')


# The command


def test_commands_take_an_address(hub, tmp_path, monkeypatch, capsys):
    """A run is uploaded, its ``.pth`` in the safe format; then tested and asked about an image by its address."""
    weights = {'model.backbone.net': tiny_net(weights=str(write_weights(tmp_path / 'weights.pth')))}
    run = runner(tmp_path / 'work', **weights)
    run.train()
    config = write_config(tmp_path / 'config.py', tmp_path / 'work', **weights)

    def vptx_(*arguments: object) -> str:
        monkeypatch.setattr(sys, 'argv', ['vptx', *map(str, arguments)])
        main()
        return capsys.readouterr().out

    monkeypatch.setenv('HF_TOKEN', TOKEN)
    address = vptx_('push', newest(tmp_path / 'work'), 'user/tiny', '--license', 'mit').strip()
    assert address.startswith('hf://user/tiny@')
    vptx_('test', config, 'hf://user/tiny', '--out', tmp_path / 'metrics.json', '--work-dir', tmp_path / 'tested')
    assert json.loads((tmp_path / 'metrics.json').read_text()).keys() == {'accuracy/top1'}
    model = vptx.init_model(config, address)
    assert model.dataset_meta['classes'] == list(CLASSES)
    state = run.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    begun = CheckpointLoader.load_checkpoint('hf://user/tiny')  # load_from of a config
    assert begun['state_dict'].keys() == read_prompt(fetch(address)[0])[0].keys()
    for command in ('predict', 'test'):
        with pytest.raises(SystemExit, match='there is no model user/nothing'):
            vptx_(command, config, 'hf://user/nothing', *[tmp_path / 'weights.pth'] * (command == 'predict'))
