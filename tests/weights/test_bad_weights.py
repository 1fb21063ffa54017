"""Files and names that cannot be loaded: each is one clear error, soon, and the model is left as it was."""

import time

import huggingface_hub.constants
import numpy as np
import pytest
import timm
import torch
from malice import Opens, write_attack
from safetensors.torch import save_file
from small_models import drawn, vit

from vptx.backbones import TimmViT
from vptx.weights import hub, load_weights, read_tensors


@pytest.fixture
def theirs():
    return drawn(vit())


def refused(source, match: str, model=None, error=ValueError, **options) -> None:
    model = model or vit()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(error, match=match) as found:
        load_weights(model, source, **options)
    assert str(source).split('/')[-1] in str(found.value)  # which of the many weights of a config
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# What a file may be instead.


@pytest.mark.parametrize('content', [b'', b'<!DOCTYPE html><html>', b'version https://git-lfs', b'cos\nsystem\n'])
def test_no_weight_file(content, tmp_path):
    (tmp_path / 'file.pth').write_bytes(content)
    refused(tmp_path / 'file.pth', r'no weight file: expected numpy \.npz, PyTorch or safetensors, found \d+ bytes')


def test_no_file(tmp_path):
    refused(tmp_path / 'file.pth', r'there is no weight file .*file\.pth.*timm://', error=FileNotFoundError)


def test_a_directory(tmp_path):
    refused(tmp_path, 'there is no weight file', error=FileNotFoundError)


def test_layout_of_none(tmp_path):
    tensors = {'bert.embeddings.weight': torch.zeros(3, 3), 'bert.encoder.layer.0.weight': torch.zeros(3)}
    save_file(tensors, tmp_path / 'file.safetensors')
    expected = r"Expected: Google's ViT; Hugging Face's names; OpenMMLab's ViT; .*; timm's names \(MAE, MoCo v3, .*\)"
    refused(tmp_path / 'file.safetensors', rf'of none of the layouts .*{expected}\. Found: bert\.embeddings\.weight')


def test_another_family(tmp_path):
    torch.save(timm.create_model('resnet18', channels=(8, 8, 8, 8)).state_dict(), tmp_path / 'file.pth')
    refused(tmp_path / 'file.pth', r'none of the layouts that VisionTransformer .* Found: conv1\.weight, bn1\.weight')


def test_a_vit_is_no_swin(theirs, tmp_path):
    torch.save(theirs.state_dict(), tmp_path / 'file.pth')
    tiny = dict(img_size=32, window_size=2, embed_dim=16, depths=(2, 1), num_heads=(1, 2))
    refused(tmp_path / 'file.pth', 'does not fit', timm.create_model('swin_tiny_patch4_window7_224', **tiny))


@pytest.mark.parametrize(
    ('found', 'match'),
    [
        ({}, 'holds no tensors, only nothing'),
        (dict(epoch=3, lr=0.1), 'holds no tensors, only epoch, lr'),
        (dict(model=torch.zeros(3).tolist()), 'holds no tensors, only model'),
        ([torch.zeros(3)], 'holds a list, not named tensors'),
        (torch.zeros(3), 'holds a Tensor, not named tensors'),
        (dict(teacher_1=dict(a=torch.zeros(1)), student=dict(a=torch.zeros(1))), 'tensors under teacher_1, student'),
    ],
)
def test_no_model_or_several(found, match, tmp_path):
    torch.save(found, tmp_path / 'file.pth')
    refused(tmp_path / 'file.pth', match)


def test_torchscript(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / 'file.pt')
    refused(tmp_path / 'file.pt', r'TorchScript program.*timm://vit_base_patch16_clip_224\.openai')


# Another architecture.


@pytest.mark.parametrize(
    ('arguments', 'match'),
    [
        (dict(depth=4), r'it lacks blocks\.3\.norm1\.weight, .* and 7 more'),
        (dict(depth=2), r'the model has no place for blocks\.2\.norm1\.weight, .* and 7 more'),
        (dict(embed_dim=48), r'other shapes: cls_token \(1, 1, 32\) instead of \(1, 1, 48\), .* and \d+ more'),
        (dict(mlp_ratio=3), r'other shapes: blocks\.0\.mlp\.fc1\.weight \(64, 32\) instead of \(96, 32\)'),
        (dict(init_values=0.5), r'it lacks blocks\.0\.ls1\.gamma'),
        (
            dict(model_name='vit_base_patch16_clip_224'),
            r'lacks norm_pre\.weight.* no place for patch_embed\.proj\.bias',
        ),
        (dict(class_token=False, global_pool='avg', fc_norm=False), r'no place for cls_token|other shapes: pos_embed'),
    ],
)
def test_another_architecture(arguments, match, theirs, tmp_path):
    torch.save(theirs.state_dict(), tmp_path / 'file.pth')
    arguments = dict(arguments)
    refused(tmp_path / 'file.pth', match, vit(arguments.pop('model_name', 'vit_base_patch16_224'), **arguments))


def test_tensors_that_change_what_the_network_computes_are_not_dropped(tmp_path):
    torch.save(drawn(vit(init_values=0.5)).state_dict(), tmp_path / 'file.pth')
    refused(tmp_path / 'file.pth', r'no place for blocks\.0\.ls1\.gamma')


def test_another_number_of_prefix_tokens(tmp_path):
    torch.save(vit('deit_tiny_distilled_patch16_224').state_dict(), tmp_path / 'file.pth')
    refused(tmp_path / 'file.pth', r'other shapes: pos_embed')


@pytest.mark.parametrize('depths', [(2, 2), (2, 1, 1)])
def test_another_depth_of_swin(depths, tmp_path):
    def swin(depths: tuple[int, ...]) -> torch.nn.Module:
        tiny = dict(img_size=32, window_size=2, embed_dim=16, depths=depths, num_heads=(1, 2, 4)[: len(depths)])
        return timm.create_model('swin_tiny_patch4_window7_224', num_classes=0, **tiny)

    torch.save(swin(depths).state_dict(), tmp_path / 'file.pth')
    refused(tmp_path / 'file.pth', r'another architecture, depth or width', swin((2, 1)))


def test_a_missing_tensor(theirs, tmp_path):
    tensors = theirs.state_dict()
    del tensors['blocks.1.mlp.fc2.bias']
    torch.save(tensors, tmp_path / 'file.pth')
    refused(tmp_path / 'file.pth', r'it lacks blocks\.1\.mlp\.fc2\.bias$')


# Damage and malice.


@pytest.mark.parametrize('part', [0.02, 0.5, 0.99])
@pytest.mark.parametrize('name', ['file.pth', 'old.pth', 'file.npz', 'file.safetensors'])
def test_truncated(name, part, theirs, tmp_path):
    path = tmp_path / name
    if name == 'file.safetensors':
        save_file(theirs.state_dict(), path)
    elif name == 'file.npz':
        np.savez(path, **{key: value.numpy() for key, value in theirs.state_dict().items()})
    else:
        torch.save(theirs.state_dict(), path, _use_new_zipfile_serialization=name != 'old.pth')
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    refused(path, 'truncated')


# torch.load takes a file called .safetensors for one.
REFUSED = r'could run code|not a file of torch\.save'
EXTENSIONS = ['.pth', '.pth.tar', '.pt', '.bin', '.ckpt', '.npz', '.safetensors', '']


@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'bare pickle'])
@pytest.mark.parametrize('extension', EXTENSIONS)
def test_pickles_never_execute(extension, zipped, tmp_path):
    evil, target = write_attack(tmp_path / 'zip', tmp_path / 'target'), tmp_path / 'target'
    path = tmp_path / f'file{extension}'
    if zipped:
        path.write_bytes(evil.read_bytes())
    else:
        # As PyTorch wrote before 1.6.
        torch.save(dict(state_dict=dict(evil=Opens(target))), path, _use_new_zipfile_serialization=False)
    refused(path, REFUSED)
    with pytest.raises(ValueError, match=REFUSED):
        read_tensors(path)
    with pytest.raises(ValueError, match=REFUSED):
        TimmViT('vit_mini_patch8_64', weights=str(path))
    assert not target.exists()


@pytest.mark.parametrize(
    ('tensor', 'match'),
    [
        (torch.full((32,), torch.nan), r'holds values of blocks\.1\.mlp\.fc2\.bias that are NaN'),
        (torch.full((32,), 1e300, dtype=torch.float64), r'holds values of blocks\.1\.mlp\.fc2\.bias that are NaN'),
        (torch.ones(32, dtype=torch.complex64), r'holds blocks\.1\.mlp\.fc2\.bias as complex64; expected float32'),
        (torch.ones(32, dtype=torch.bool), r'holds blocks\.1\.mlp\.fc2\.bias as bool; expected float32'),
        (torch.ones(32).to_sparse(), r'holds blocks\.1\.mlp\.fc2\.bias as a sparse tensor'),
        (torch.ones(32, device='meta'), r'holds blocks\.1\.mlp\.fc2\.bias as a meta tensor'),
    ],
)
def test_values_that_are_no_weights(theirs, tmp_path, tensor, match):
    torch.save({**theirs.state_dict(), 'blocks.1.mlp.fc2.bias': tensor}, tmp_path / 'file.pth')
    refused(tmp_path / 'file.pth', match)


def test_a_model_inside_itself(tmp_path):
    state = dict(epoch=1)
    state['model'] = state
    torch.save(state, tmp_path / 'file.pth')
    refused(tmp_path / 'file.pth', 'holds a model that is inside itself')


# Names of the hub.

NAME = 'vit_tiny_patch16_224.augreg_in21k'


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no network."""
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    return tmp_path


def test_an_unknown_name(cache):
    refused('timm://vit_base_patch16_224.mea', r"timm has no weights 'vit_base_patch16_224\.mea'. Nearest: .*\.mae")


def test_a_name_without_weights(cache):
    refused('timm://vit_mini_patch8_64.untrained', 'timm has no weights')


def test_no_network(cache):
    start = time.monotonic()
    refused(
        f'timm://{NAME}',
        rf'neither in the cache .* https://huggingface\.co/timm/{NAME}.*fetch the file elsewhere and give its path',
        error=FileNotFoundError,
    )
    assert time.monotonic() - start < 5


def test_no_network_is_noticed_with_the_first_file(cache, monkeypatch):
    """Each further one would be tried for as long."""
    asked = []

    def download(repository: str, name: str, revision: str | None) -> str:
        asked.append(name)
        raise huggingface_hub.errors.LocalEntryNotFoundError('no network')

    monkeypatch.setattr(hub, 'hf_hub_download', download)
    refused(f'timm://{NAME}', 'neither in the cache', error=FileNotFoundError)
    assert asked == ['model.safetensors']


@pytest.mark.parametrize('name', ['model.safetensors', 'pytorch_model.bin'])
def test_what_is_cached_asks_for_no_network(name, theirs, cache):
    repository = cache / f'models--timm--{NAME}'
    (repository / 'refs').mkdir(parents=True)
    (repository / 'refs' / 'main').write_text('abc')
    (repository / 'snapshots' / 'abc').mkdir(parents=True)
    path = repository / 'snapshots' / 'abc' / name
    save_file(theirs.state_dict(), path) if name.endswith('safetensors') else torch.save(theirs.state_dict(), path)
    model = vit()
    assert hub.is_cached(f'timm://{NAME}')
    load_weights(model, f'timm://{NAME}')
    assert torch.equal(model.pos_embed, theirs.pos_embed)


@pytest.mark.parametrize('name', [NAME, 'resnet18.gluon_in1k', 'vit_tiny_patch16_224.augreg_in21k_ft_in1k'])
def test_what_is_not_cached(name, cache, monkeypatch):
    monkeypatch.setattr(hub, 'hf_hub_download', None)
    assert not hub.is_cached(f'timm://{name}')
