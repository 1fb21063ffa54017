"""Images and folders in, a table and a picture out; read and prepared as the test of the config does it."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from PIL import Image
from runs import REPO, environment, hook, runner, tiny_config, tool, write_weights

import vptx
from vptx.predict import Prediction, Table, contact_sheet, find_images, predict
from vptx.registry import TRANSFORMS


def write(path, colour=(200, 100, 0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (12, 8), colour).save(path)
    return path


# What is an image


def test_folders_are_searched_and_files_taken_as_they_are(tmp_path):
    deep = write(tmp_path / 'folder' / 'sub' / 'b.PNG')
    flat = write(tmp_path / 'folder' / 'a.jpg')
    (tmp_path / 'folder' / 'notes.txt').write_text('no image')
    single = write(tmp_path / 'single.bmp')
    assert find_images([single, tmp_path / 'folder']) == [single, flat, deep]


def test_a_missing_path_or_a_folder_without_images_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nowhere\.png'):
        find_images([tmp_path / 'nowhere.png'])
    (tmp_path / 'a.txt').write_bytes(b'x')
    with pytest.raises(ValueError, match=rf'no images in {tmp_path}.*\.jpg.*passed over 1 without .*a\.txt'):
        find_images([tmp_path])
    os.mkfifo(tmp_path / 'pipe.png')
    with pytest.raises(ValueError, match=r'pipe\.png is neither a file nor a folder'):
        find_images([tmp_path / 'pipe.png'])


# The same scores as the test's


@METRICS.register_module(force=True)
class Scores(BaseMetric):
    """The scores of every image, by its path."""

    def process(self, data_batch, data_samples) -> None:
        self.results += [(sample['img_path'], sample['pred_score'].tolist()) for sample in data_samples]

    def compute_metrics(self, results: list) -> dict:
        return dict(results)


@TRANSFORMS.register_module(force=True)
class ReadSquares(BaseTransform):
    """A user's own loader, of files that hold the side and the grey of a square."""

    def transform(self, results: dict) -> dict:
        side, grey = json.loads(Path(results['img_path']).read_text())
        image = np.full((side, side, 3), grey, np.float32)
        return dict(results, img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])


RESIZE = dict(type='Resize', scale=(16, 16))


def oriented(root: Path) -> None:
    """Photographs with a tag that turns them around, which the test ignores, or not."""
    noise = np.random.default_rng(0)
    tag = Image.Exif()
    tag[0x0112] = 6
    for split in ('train', 'test'):
        for i in range(13):
            path = root / split / f'{"ab"[i % 2]}' / f'{i}.jpg'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise.integers(0, 255, (20 + i, 30, 3)).astype(np.uint8)).save(path, exif=tag)


def four_bands(root: Path) -> None:
    noise = np.random.default_rng(0)
    for split in ('train', 'test'):
        for i in range(13):
            path = root / split / f'{"ab"[i % 2]}' / f'{i}.tif'
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = noise.integers(0, 255, (16, 16, 4)).astype(np.uint8)
            tifffile.imwrite(path, pixels, photometric='minisblack', planarconfig='contig')


def sixteen_bits(root: Path) -> None:
    noise = np.random.default_rng(0)
    for split in ('train', 'test'):
        for i in range(13):
            path = root / split / f'{"ab"[i % 2]}' / f'{i}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), noise.integers(0, 4095, (20, 16 + i)).astype(np.uint16))


def squares(root: Path) -> None:
    for split in ('train', 'test'):
        for i in range(13):
            path = root / split / f'{"ab"[i % 2]}' / f'{i}.png'  # a name that CustomImages finds
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps([16 + i, 10 * i]))


CASES = {
    'as it is': (oriented, [dict(type='LoadImageFromFile'), RESIZE]),
    'orientation ignored': (oriented, [dict(type='LoadImageFromFile', color_type='color_ignore_orientation'), RESIZE]),
    'Pillow': (oriented, [dict(type='LoadImageFromFile', imdecode_backend='pillow', to_float32=True), RESIZE]),
    'four bands': (four_bands, [dict(type='LoadImageFromFile', color_type='unchanged', imdecode_backend='tifffile')]),
    'twelve bits': (sixteen_bits, [dict(type='LoadDeepImage', high=4095), RESIZE]),
    'a loader of its own': (squares, [dict(type='ReadSquares'), RESIZE]),
}


def config_of(root: Path, load: list[dict], bands: int = 3, **changes) -> dict:
    pipeline = [*load, dict(type='PackInputs')]
    loaders = {
        f'{split}_dataloader': dict(
            batch_size=4,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(type='CustomImages', data_root=str(root), split=split, pipeline=pipeline, _delete_=True),
        )
        for split in ('train', 'val', 'test')
    }
    return {
        **loaders,
        'model.head.num_classes': 2,
        'model.data_preprocessor': dict(mean=[127.5] * bands, std=[127.5] * bands, to_rgb=False),
        'model.backbone.net.in_chans': bands,
        'model.backbone.net.weights': str(write_weights(root.with_suffix('.pth'), in_chans=bands)),
        'test_evaluator': dict(type='Scores', _delete_=True),
        **changes,
    }


@pytest.mark.parametrize('case', CASES)
def test_scores_are_those_of_the_test_to_the_bit(tmp_path, case):
    make, load = CASES[case]
    make(tmp_path / 'data')
    changes = config_of(tmp_path / 'data', load, bands=4 if case == 'four bands' else 3)
    run = runner(tmp_path / 'work', train_cfg=dict(max_epochs=1), **changes)
    run.train()
    expected = run.test()
    config = Config(tiny_config(tmp_path / 'work', **changes))
    model = vptx.init_model(config, tmp_path / 'work' / 'prompt.safetensors')
    found = list(predict(model, find_images([tmp_path / 'data' / 'test']), pictures=3))
    assert {str(p.path): list(p.scores) for p in found} == expected and len(found) == 13
    assert all(p.score == max(p.scores) and p.name == 'ab'[p.label] for p in found)
    assert [p.picture is not None for p in found] == [True] * 3 + [False] * 10
    assert all(p.picture.dtype == np.uint8 and p.picture.shape[2] == 3 for p in found[:3])


def test_orientation_makes_a_difference(tmp_path):
    """So that the test above can fail."""
    oriented(tmp_path)
    one, other = (
        vptx.init_model(Config(tiny_config(tmp_path, hooks=[hook()], **config_of(tmp_path, CASES[case][1]))))
        for case in ('as it is', 'orientation ignored')
    )
    other.load_state_dict(one.state_dict())
    paths = find_images([tmp_path / 'test'])
    assert next(predict(one, paths)).scores != next(predict(other, paths)).scores


def test_images_of_several_sizes_are_told_in_test_and_prediction(tmp_path):
    oriented(tmp_path / 'data')
    load = [dict(type='LoadImageFromFile'), dict(type='RandomCrop', crop_size=16)]
    changes = config_of(tmp_path / 'data', load)
    changes['test_dataloader']['dataset']['pipeline'] = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    run = runner(tmp_path / 'work', **changes)
    with pytest.raises(ValueError, match=r'several sizes, such as 3 x 30 x 20 \(.*jpg\) and .*batch_size=1'):
        run.test()
    model = vptx.init_model(Config(tiny_config(tmp_path / 'work', **changes)))
    paths = find_images([tmp_path / 'data' / 'test'])
    with pytest.raises(ValueError, match=r'several sizes, such as 3 x 30 x 20 \(.*jpg\) and .*batch_size=1'):
        list(predict(model, paths))


def test_where_the_data_set_gives_pixels_files_are_read(tmp_path):
    model = vptx.init_model(Config(tiny_config(tmp_path)))
    Image.fromarray(np.full((16, 16, 3), (250, 0, 0), np.uint8)).save(tmp_path / 'a.png')
    (found,) = predict(model, [tmp_path / 'a.png'], pictures=1)
    assert tuple(found.picture[0, 0]) == (250, 0, 0) and found.name == str(found.label)
    blue = torch.zeros(1, 3, 16, 16)
    blue[:, 2] = 250  # BGR, as OpenMMLab loads files
    expected = model((blue - 127.5) / 127.5, mode='tensor').softmax(1)[0]
    torch.testing.assert_close(torch.tensor(found.scores), expected.detach())


@pytest.mark.parametrize('missing', ['no test', 'no pipeline'])
def test_a_config_that_does_not_say_how_images_are_prepared(tmp_path, missing):
    config = Config(tiny_config(tmp_path))
    if missing == 'no test':
        config.test_dataloader = None
    else:
        del config.test_dataloader.dataset['pipeline']
    model = vptx.init_model(config)
    with pytest.raises(
        ValueError, match=r'how an image is read and prepared: it needs test_pipeline=.*test_dataloader'
    ):
        next(predict(model, [write(tmp_path / 'a.png')]))
    config.test_pipeline = [dict(type='LoadImageFromFile'), RESIZE, dict(type='PackInputs')]
    assert next(predict(model, [tmp_path / 'a.png'])).score > 0


# Many files, and bad ones


@pytest.mark.parametrize('content', [b'', b'this is text', b'\x89PNG\r\n\x1a\n broken', 'half'])
def test_an_unreadable_image_is_noted_and_the_others_go_on(tmp_path, content):
    model = vptx.init_model(Config(tiny_config(tmp_path, **config_of(tmp_path, CASES['as it is'][1]))))
    paths = [write(tmp_path / f'{i}.png', (20 * i, 0, 0)) for i in range(5)]
    whole = list(predict(model, paths, batch_size=2))
    paths[1].write_bytes(paths[1].read_bytes()[:40] if content == 'half' else content)
    found = list(predict(model, paths, batch_size=2))
    assert [p.path for p in found] == paths and [bool(p.error) for p in found] == [False, True, False, False, False]
    assert '1.png cannot be read as an image' in found[1].error and found[1].name == ''
    assert [p.name for p in found[2:]] == [p.name for p in whole[2:]]


def test_files_are_read_a_batch_at_a_time(tmp_path):
    model = vptx.init_model(Config(tiny_config(tmp_path, **config_of(tmp_path, CASES['as it is'][1]))))
    paths = [write(tmp_path / f'{i}.png') for i in range(5)]
    found = predict(model, paths, batch_size=2)
    assert not next(found).error
    paths[2].unlink()  # has not been looked at
    assert [bool(p.error) for p in found] == [False, True, False, False]


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding='utf-8') as file:
        return list(csv.DictReader(file))


def test_table_and_picture(tmp_path):
    picture = np.zeros((8, 12, 3), np.uint8)
    predictions = [Prediction(tmp_path / f'{i}.png', i, f'class {i}', 0.5, picture=picture) for i in range(12)]
    with Table(tmp_path / 'out' / 'predictions.csv') as table:
        for prediction in predictions:
            table.write(prediction)
    rows = read_rows(tmp_path / 'out' / 'predictions.csv')
    assert [row['class'] for row in rows] == [f'class {i}' for i in range(12)]
    assert rows[0] == {'image': str(tmp_path / '0.png'), 'class': 'class 0', 'score': '0.5000', 'error': ''}
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['predictions.csv']
    contact_sheet(predictions, tmp_path / 'new' / 'sheet.png')
    width, height = Image.open(tmp_path / 'new' / 'sheet.png').size
    assert width > height  # ten in a row, two rows


@pytest.mark.parametrize('classes', [['cat', 'a, b'], True])
def test_scores_of_all_classes(tmp_path, classes):
    bad, good = Prediction(Path('a'), -1, '', 0, error='broken'), Prediction(Path('b'), 1, 'x', 0.75, [0.25, 0.75])
    with Table(tmp_path / 'a.csv', classes) as table:
        for prediction in (bad, good):
            table.write(prediction)
    first, second = read_rows(tmp_path / 'a.csv')
    names = ['0', '1'] if classes is True else classes
    assert [second[f'score of {name}'] for name in names] == ['0.250000', '0.750000']
    assert first['error'] == 'broken' and first['score'] == ''


def test_a_process_that_dies_leaves_a_table_that_looks_unfinished(tmp_path):
    script = (
        'import os, sys\nfrom pathlib import Path\nfrom vptx.predict import Prediction, Table\n'
        'table = Table(sys.argv[1]).__enter__()\n'
        'for i in range(3): table.write(Prediction(Path(f"{i}, x.png"), 0, "cat", 0.5))\nos._exit(1)'
    )
    (tmp_path / 'a.csv').write_text('an older one')
    subprocess.run([sys.executable, '-c', script, str(tmp_path / 'a.csv')], env=environment(), cwd=REPO, check=False)
    assert (tmp_path / 'a.csv').read_text() == 'an older one'
    assert [row['image'] for row in read_rows(tmp_path / 'a.part.csv')] == ['0, x.png', '1, x.png', '2, x.png']


# The tool


def test_the_tool(tmp_path):
    """Settings of the run are given again; a bad file and odd names are told, and end with status 1."""
    oriented(tmp_path / 'data')
    changes = config_of(tmp_path / 'data', CASES['as it is'][1])
    changes['test_evaluator'] = dict(type='Accuracy')
    run = runner(tmp_path / 'work', train_cfg=dict(max_epochs=1), **changes)
    run.train()
    given = Config(tiny_config(tmp_path / 'work', **{**changes, 'model.head.num_classes': 9}))
    given.dump(str(tmp_path / 'config.py'))
    images = tmp_path / 'images'
    write(images / 'good.png')
    (images / 'bad.png').write_bytes(b'text')
    (images / os.fsdecode(b'caf\xe9.png')).write_bytes((images / 'good.png').read_bytes())
    arguments = [
        tmp_path / 'config.py',
        tmp_path / 'work' / 'prompt.safetensors',
        images,
        '--out-dir',
        tmp_path / 'out',
    ]
    failed = tool('predict', *arguments, check=False)
    assert failed.returncode == 1 and 'head.fc.weight' in failed.stderr and 'Traceback' not in failed.stderr
    done = tool('predict', *arguments, '--scores', '--cfg-options', 'model.head.num_classes=2', check=False)
    assert done.returncode == 1, done.stderr
    assert '1 of 3 images could not be read' in done.stderr and 'Traceback' not in done.stderr
    rows = read_rows(tmp_path / 'out' / 'predictions.csv')
    assert [Path(row['image']).name for row in rows] == ['bad.png', 'caf\\xe9.png', 'good.png']
    assert [bool(row['error']) for row in rows] == [True, False, False]
    assert abs(float(rows[2]['score of a']) + float(rows[2]['score of b']) - 1) < 1e-5
    assert (tmp_path / 'out' / 'predictions.png').is_file()
