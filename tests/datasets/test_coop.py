"""The data sets of CoOp: labels belong to their names, draws depend on their seed alone, and no split is mixed."""

import json
import random

import pytest
from mmengine.config import Config
from suites import write_coop, write_imagenet

from vptx.datasets import TASKS, CoOpTask, set_task
from vptx.datasets.coop import COOP, number_of_base
from vptx.hooks.data_guard_hook import check_files


def items(data: CoOpTask) -> list[tuple[str, int]]:
    infos = [data.get_data_info(i) for i in range(len(data))]
    return [(info['img_path'], info['gt_label']) for info in infos]


def edit(path, change) -> None:
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))


def test_the_table_is_that_of_the_papers():
    groups = [task.group for task in COOP.values()]
    assert groups == ['ImageNet'] + ['Other ten'] * 10 + ['ImageNet shift'] * 4
    # Images of the data sets' own pages, which the splits divide.
    whole = dict(caltech101=8_242, oxford_pets=7_349, stanford_cars=16_185, oxford_flowers=8_189, food101=101_000)
    whole |= dict(fgvc_aircraft=10_000, sun397=39_700, dtd=5_640, eurosat=27_000, ucf101=13_320)
    assert {name: sum(COOP[f'coop_{name}'].sizes) for name in whole} == whole
    assert sum(task.classes for task in COOP.values() if task.suite == 'coop') == 2191
    assert all(task.template.count('{}') == 1 for task in COOP.values())
    assert set(COOP) < set(TASKS) and TASKS['dtd'].suite == 'vtab'


def test_splits_names_and_template(tmp_path):
    folder = write_coop(tmp_path)
    edit(folder / 'split_zhou_EuroSAT.json', lambda found: [e.__setitem__(2, 'AnnualCrop') for part in found.values()
                                                           for e in part if e[1] == 0])  # fmt: skip
    data = {split: CoOpTask(str(tmp_path), 'coop_eurosat', split) for split in CoOpTask.SPLITS}
    assert [len(data[split]) for split in ('train', 'val', 'trainval', 'test')] == [30, 20, 50, 20]
    assert items(data['trainval']) == items(data['train']) + items(data['val'])
    assert not set(items(data['trainval'])) & set(items(data['test']))
    assert items(data['test'])[1] == (str(folder / '2750/kind_000/test_1.png'), 0)
    assert data['test'].metainfo['classes'][:2] == ('Annual Crop Land', 'kind 1')
    assert data['test'].metainfo['template'] == 'a centered satellite photo of {}.'


def test_base_and_new_are_halves_of_the_labels_and_keep_their_draws(tmp_path):
    write_coop(tmp_path, 'coop_dtd', dict(train=6, val=2, test=1), pixels=False)
    drawn = {
        part: CoOpTask(str(tmp_path), 'coop_dtd', 'train', part, subset=dict(shots=2, seed=1))
        for part in ('all', 'base', 'new')
    }
    assert number_of_base(47) == 24
    names = {part: data.metainfo['classes'] for part, data in drawn.items()}
    assert names['all'] == names['base'] + names['new'] and len(names['base']) == 24
    paths = {part: {path for path, _ in items(data)} for part, data in drawn.items()}
    assert paths['base'] | paths['new'] == paths['all'] and not paths['base'] & paths['new']
    for part, data in drawn.items():
        assert {names[part][label].split()[1] for path, label in items(data)} == {
            str(int(path.split('kind_')[1][:3])) for path in paths[part]
        }
    test = CoOpTask(str(tmp_path), 'coop_dtd', 'test', 'new')
    assert sorted(label for _, label in items(test)) == list(range(23))


def test_draws_do_not_depend_on_the_order_of_the_file(tmp_path):
    folder = write_coop(tmp_path, each=dict(train=8, val=6, test=1), pixels=False)

    def drawn(seed: int, split: str = 'train', shots: int = 4) -> list[tuple[str, int]]:
        return items(CoOpTask(str(tmp_path), 'coop_eurosat', split, subset=dict(shots=shots, seed=seed)))

    before = drawn(1), drawn(1, 'val')
    edit(folder / 'split_zhou_EuroSAT.json', lambda found: [random.shuffle(part) for part in found.values()])
    assert (drawn(1), drawn(1, 'val')) == before
    assert drawn(2) != before[0]
    assert set(drawn(1, shots=2)) < set(before[0])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda f: f['test'][3].__setitem__(2, 'other'), r"test, entry 3: label 1 is 'other' here and 'kind_1' in"),
        (lambda f: [f[s].__delitem__(slice(-n, None)) for s, n in (('train', 3), ('val', 2), ('test', 2))],
         r'have 9 names for 10 classes: there is no image of label 9\. Expected'),
        (lambda f: f['train'].__delitem__(slice(0, 3)), r'labels of train have 9 names for 10 classes: .* label 0\.'),
        (lambda f: f['val'].append(['a.png', 10, 'more']), r'have 11 names for 10 classes: there is label 10'),
        (lambda f: f['val'].append(['a.png', '1', 'kind_1']), r'val, entry 20: expected \[path, label, class name\]'),
        (lambda f: f['val'].append(['a.png', 1, ' ']), 'val, entry 20: expected'),
        (lambda f: f.pop('val'), 'is no split of CoOp: expected a JSON object of the lists train, val and test'),
    ],
)  # fmt: skip
def test_labels_and_names_are_checked_against_each_other(tmp_path, change, message):
    folder = write_coop(tmp_path, pixels=False)
    edit(folder / 'split_zhou_EuroSAT.json', change)
    for split in ('train', 'test'):
        with pytest.raises(ValueError, match=message) as caught:
            CoOpTask(str(tmp_path), 'coop_eurosat', split)
        assert str(caught.value).startswith(str(folder / 'split_zhou_EuroSAT.json'))


def test_other_names_for_the_classes(tmp_path):
    write_coop(tmp_path, pixels=False)
    own = [f'own {i}' for i in range(10)]
    assert CoOpTask(str(tmp_path), 'coop_eurosat', 'test', classes=own).metainfo['classes'] == tuple(own)
    with pytest.raises(
        ValueError, match=r'eurosat has 10 classes \(all\), and classes=\[\.\.\.\] of this data set has 9 names'
    ):
        CoOpTask(str(tmp_path), 'coop_eurosat', 'test', classes=own[:9])


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"CoOp's dtd: .*split_zhou_DescribableTextures\.json.*DATASETS\.md"):
        CoOpTask(str(tmp_path), 'coop_dtd')
    folder = write_coop(tmp_path)
    (folder / '2750/kind_004/train_1.png').unlink()
    data = CoOpTask(str(tmp_path), 'coop_eurosat')
    with pytest.raises(ValueError, match=r'train, 1 of 30 images: .*kind_004/train_1\.png'):
        check_files(dict(train=data))


def test_aircraft_has_the_lists_of_its_authors(tmp_path):
    folder = tmp_path / 'fgvc_aircraft'
    folder.mkdir()
    names = [f'F-{i} long name' for i in range(100)]
    (folder / 'variants.txt').write_text('\n'.join(names))
    for split in ('train', 'val', 'test'):
        lines = [f'{split}{i:04} {name}' for i, name in enumerate(names)]
        (folder / f'images_variant_{split}.txt').write_text('\n'.join(reversed(lines)))
    data = CoOpTask(str(tmp_path), 'coop_fgvc_aircraft', 'val', 'new')
    assert data.metainfo['classes'] == tuple(names[50:])
    assert items(data)[0] == (str(folder / 'images/val0050.jpg'), 0)
    (folder / 'images_variant_val.txt').write_text('1 F-0 long name\n2 F-100 long name')
    with pytest.raises(ValueError, match=r"images_variant_val\.txt, line 2: '2 F-100 long name' is no image and name"):
        CoOpTask(str(tmp_path), 'coop_fgvc_aircraft', 'val')
    (folder / 'variants.txt').write_text('\n'.join(names[:91]))
    with pytest.raises(ValueError, match=r'variants\.txt has 91 names for 100 classes'):
        CoOpTask(str(tmp_path), 'coop_fgvc_aircraft', 'val')


def test_imagenet_holds_validation_images_out_of_train(tmp_path):
    folder = write_imagenet(tmp_path, each=6)
    data = {split: CoOpTask(str(tmp_path), 'coop_imagenet', split) for split in CoOpTask.SPLITS}
    assert [len(data[split]) for split in ('train', 'val', 'trainval', 'test')] == [5000, 1000, 6000, 1000]
    assert set(items(data['train'])) | set(items(data['val'])) == set(items(data['trainval']))
    assert items(data['test'])[1] == (str(folder / 'images/val/n00000001/0.JPEG'), 1)
    assert data['train'].metainfo['classes'][999] == 'kind 999'


@pytest.mark.parametrize(
    ('task', 'label', 'image', 'name'),
    [
        ('imagenet_v2', 5, '5/0.JPEG', 'kind 5'),  # by number, not as text: 1, 10, 100, ...
        ('imagenet_sketch', 5, 'n00000005/0.JPEG', 'kind 5'),
        ('imagenet_a', 5, 'n00000025/0.JPEG', 'kind 25'),
        ('imagenet_r', 5, 'n00000025/0.JPEG', 'kind 25'),
    ],
)
def test_other_imagenets_have_the_names_of_the_classes_that_they_show(tmp_path, task, label, image, name):
    write_imagenet(tmp_path, task)
    data = CoOpTask(str(tmp_path), task, 'test')
    assert len(data) == len(data.metainfo['classes']) == COOP[task].classes
    found = {number: path for path, number in items(data)}
    assert found[label].endswith(image) and data.metainfo['classes'][label] == name
    with pytest.raises(ValueError, match=f"{task} has a test split only, no 'train'"):
        CoOpTask(str(tmp_path), task)


def test_names_and_folders_of_imagenet_that_would_shift(tmp_path):
    write_imagenet(tmp_path, 'imagenet_a', classes=199)
    with pytest.raises(ValueError, match=r'imagenet-a has folders of 199 classes, 200 were published'):
        CoOpTask(str(tmp_path), 'imagenet_a', 'test')
    (tmp_path / 'imagenet-adversarial/imagenet-a/n99').mkdir()
    with pytest.raises(ValueError, match=r'imagenet-a has folders of no class in classnames\.txt: n99'):
        CoOpTask(str(tmp_path), 'imagenet_a', 'test')
    names = tmp_path / 'imagenet' / 'classnames.txt'
    names.write_text('\n'.join(names.read_text().splitlines()[9:]))
    with pytest.raises(ValueError, match=r'classnames\.txt has 991 names for 1000 labels'):
        CoOpTask(str(tmp_path), 'imagenet_a', 'test')
    names.write_text('n1 tench\nn1 goldfish')
    with pytest.raises(ValueError, match=r"classnames\.txt, line 2: 'n1 goldfish' is no folder with a name, or"):
        CoOpTask(str(tmp_path), 'imagenet_a', 'test')


def test_unknown_tasks_and_parts(tmp_path):
    with pytest.raises(ValueError, match=r"there is no task 'dtd'\. There are: coop_imagenet"):
        CoOpTask(str(tmp_path), 'dtd')
    with pytest.raises(ValueError, match="part must be one of 'all', 'base', 'new', got 'old'"):
        CoOpTask(str(tmp_path), 'coop_dtd', part='old')


def test_set_task():
    def loader(**facts):
        return dict(dataset=dict(type='CoOpTask', task='coop_dtd', **facts))

    config = Config(
        dict(
            model=dict(head=dict(num_classes=24)),
            train_dataloader=loader(part='base'),
            val_dataloader=loader(part='base'),
            test_dataloader=loader(),
        )
    )
    set_task(config, 'coop_oxford_pets')
    assert config.test_dataloader.dataset.task == 'coop_oxford_pets' and config.model.head.num_classes == 19
    config.model.head = dict(type='ClsHead')
    set_task(config, 'coop_eurosat')
    assert config.model.head == dict(type='ClsHead')
    with pytest.raises(ValueError, match="'dtd' is a task of vtab, this config is for coop"):
        set_task(config, 'dtd')
