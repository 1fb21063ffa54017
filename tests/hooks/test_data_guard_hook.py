"""Data that do not go with the model or the config are told before the first iteration."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from runs import hook, loader, runner

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(16, 16)), dict(type='PackInputs')]


def write_table(root: Path, split: str, *missing: str, number: int = 12, classes: str = 'abc') -> None:
    """Images of a table, and rows of images that are not there."""
    (root / 'img').mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(number):
        name = f'img/{split}{i}.png'
        Image.fromarray(np.full((16, 16, 3), 20 * i, np.uint8)).save(root / name)
        rows.append(f'{name},{classes[i % len(classes)]}')
    rows += [f'{name},{classes[0]}' for name in missing]
    (root / f'{split}.csv').write_text('\n'.join(['image,label', *rows]))


def table_run(root: Path, **changes):
    loaders = {
        f'{split}_dataloader': dict(
            batch_size=4,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(type='CustomImages', data_root=str(root), split=split, pipeline=PIPELINE, _delete_=True),
        )
        for split in ('train', 'val', 'test')
    }
    return runner(root / 'work', train_cfg=dict(max_epochs=1, val_interval=1), **{**loaders, **changes})


def test_missing_files_of_all_splits_are_told_at_once(tmp_path):
    write_table(tmp_path, 'train', 'img/gone.png')
    write_table(tmp_path, 'val', r'img\val1.png')
    write_table(tmp_path, 'test')
    (tmp_path / 'img' / 'val0.png').write_bytes(b'')
    run = table_run(tmp_path)
    with pytest.raises(ValueError) as error:
        run.train()
    text = str(error.value)
    assert (
        'train, 1 of 13 images: ' in text and 'img/gone.png cannot be read as an image: there is no such file' in text
    )
    assert 'val, 2 of 13 images: ' in text and 'val0.png cannot be read as an image: the file is empty' in text
    assert 'its name has backslashes' in text
    assert run.iter == 0


def test_files_that_a_test_would_miss(tmp_path, caplog):
    write_table(tmp_path, 'train')
    write_table(tmp_path, 'val')
    write_table(tmp_path, 'test', 'img/gone.png')
    run = table_run(tmp_path)
    run.logger.addHandler(caplog.handler)
    run.train()
    assert 'a test after this training would fail: test, 1 of 13 images: ' in caplog.text
    with pytest.raises(ValueError, match=r'test, 1 of 13 images: .*gone\.png'):
        run.test()


def test_no_test_data_at_all_is_a_warning_while_training(tmp_path, caplog):
    write_table(tmp_path, 'train')
    write_table(tmp_path, 'val')
    run = table_run(tmp_path)
    run.logger.addHandler(caplog.handler)
    run.train()
    assert "would fail: CustomImages' test: there is no" in caplog.text


def test_a_wrong_number_of_classes_names_them(tmp_path):
    write_table(tmp_path, 'train')
    write_table(tmp_path, 'val')
    with pytest.raises(ValueError, match=r'has 3 classes, the head num_classes=4: a, b, c$'):
        table_run(tmp_path, **{'model.head.num_classes': 4}).train()


def test_validation_of_other_classes_names_both(tmp_path):
    for root, classes in (('one', 'abc'), ('two', 'abd')):
        for split in ('train', 'val'):
            write_table(tmp_path / root, split, classes=classes)
    other = table_run(tmp_path / 'two').cfg.val_dataloader
    message = 'CustomImages .*/one and the data set CustomImages .*/two name other classes: the data have no c, but d'
    with pytest.raises(ValueError, match=message):
        table_run(tmp_path / 'one', val_dataloader=dict(other, _delete_=True)).train()


def test_one_class_is_refused(tmp_path):
    write_table(tmp_path, 'train', classes='a')
    write_table(tmp_path, 'val', classes='a')
    with pytest.raises(ValueError, match=r'has one class \(a\): there is nothing to tell apart'):
        table_run(tmp_path, **{'model.head.num_classes': 1}).train()


@pytest.mark.parametrize('split', ['val', 'test'])
def test_top_k_of_too_few_classes(tmp_path, split):
    evaluator = dict(type='Accuracy', topk=(1, 5))
    run = runner(tmp_path, **{f'{split}_evaluator': evaluator})
    with pytest.raises(
        ValueError, match=rf'{split}_evaluator: Accuracy asks for the best 5 classes.* 3: set topk=\(1,\)'
    ):
        run.train()
    assert run.iter == 0


NORMED = {
    'model.head': dict(
        type='StackedLinearClsHead',
        num_classes=3,
        in_channels=32,
        mid_channels=[8],
        norm_cfg=dict(type='BN1d'),
        _delete_=True,
    )
}


@pytest.mark.parametrize(('number', 'batch'), [(17, 8), (3, 1)])
def test_a_batch_of_one_under_batch_norm(tmp_path, number, batch):
    train = {**loader(True, number=number), 'batch_size': batch}
    run = runner(tmp_path, train_dataloader=train, **NORMED)
    with pytest.raises(ValueError, match=r'head\.layers\.0\.norm is a batch norm that trains, .*drop_last=True'):
        run.train()
    assert run.iter == 0


@pytest.mark.parametrize('changes', [dict(drop_last=True), dict(batch_size=6)])
def test_batches_that_batch_norm_can_take(tmp_path, changes):
    train = {**loader(True, number=17), **changes}
    run = runner(tmp_path, train_dataloader=train, train_cfg=dict(max_epochs=1), **NORMED)
    run.train()
    assert run.iter in (2, 3)


def test_a_frozen_batch_norm_is_no_matter(tmp_path):
    train = loader(True, number=17)
    run = runner(
        tmp_path, hooks=[hook(tune=['head.layers.1'])], train_dataloader=train, train_cfg=dict(max_epochs=1), **NORMED
    )
    run.train()
    assert run.iter == 3
