"""What a run was trained on is in its folder, and trains another run."""

import json

from runs import runner
from suites import write_coop

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=16), dict(type='PackInputs')]


def run(tmp_path, name, train, val):
    def loader(split, subset):
        dataset = dict(type='CoOpTask', data_root=str(tmp_path), task='coop_eurosat', split=split, subset=subset)
        sampler = dict(type='DefaultSampler', shuffle=False)
        return dict(batch_size=8, num_workers=0, sampler=sampler, dataset=dict(dataset, pipeline=PIPELINE))

    made = runner(
        tmp_path / name,
        **{
            'train_dataloader': dict(loader('train', train), _delete_=True),
            'val_dataloader': dict(loader('val', val), _delete_=True),
            'default_hooks.record': dict(type='SubsetRecordHook'),
            'model.head.num_classes': 10,
            'model.data_preprocessor.num_classes': 10,
            'train_cfg.max_epochs': 1,
        },
    )
    made.train()
    return tmp_path / name


def test_a_record_of_each_subset_trains_another_run(tmp_path):
    write_coop(tmp_path)
    first = run(tmp_path, 'first', dict(shots=2, seed=5), dict(shots=1, seed=5))
    found = {split: json.loads((first / f'subset_{split}.json').read_text()) for split in ('train', 'val')}
    assert (found['train']['shots'], found['train']['seed'], found['train']['of']) == (2, 5, 30)
    assert len(found['train']['images']) == 20 and len(found['val']['images']) == 10
    assert all(name.startswith('2750/kind_') for name in found['train']['images'])
    again = run(tmp_path, 'again', dict(shots=2, seed=6, record=str(first / 'subset_train.json')), None)
    second = json.loads((again / 'subset_train.json').read_text())
    assert second['images'] == found['train']['images'] and 'seed' not in second
    assert not (again / 'subset_val.json').exists()
