"""Several processes learn what one learns, count and evaluate every image once, and survive one another's death.

All but one of them are forked by torchrun from a process that has imported everything.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from clips import changes as prompts_of_towers
from clips import write_towers
from runs import CLASSES, differences, environment, hook, load, loader, net, newest, runner, write_config, write_weights

from vptx.kept import file_names
from vptx.prompt_file import read_prompt

KEPT = ('state_dict', 'optimizer', 'param_schedulers')
DEEP = hook(dict(type='DeepPrompter', num_tokens=3))


def trained(folder):
    return load(newest(folder))['state_dict']


@pytest.fixture
def together(tmp_path, torchrun):
    """Trains a config by several processes, in a folder; returns what they say."""

    def run(folder: str, *arguments: str, processes: int = 2, fails: bool = False, restarts: int = 0, **changes) -> str:
        config = write_config(tmp_path / f'{folder}.py', tmp_path / folder, **changes)
        log = tmp_path / f'{folder}.log'
        status, output = torchrun(processes, 'train', config, *arguments, restarts=restarts, log=log)
        assert (status != 0) is fails, output
        return output

    return run


def batch(size: int, **dataset) -> dict:
    return {**loader(True, **dataset), 'batch_size': size}


def close(ours, theirs):
    """Equal to rounding."""
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-4, atol=1e-5, msg=lambda text, name=name: name + text)


@pytest.fixture
def weights(tmp_path):
    """Those of a network that reads nine classes of its own: random, the same for all."""
    return str(write_weights(tmp_path / 'weights.pth', num_classes=9))


@pytest.mark.parametrize(('pool', 'parts'), [('mean', 1), ('sample', 2), ('vipamin', 1)])
def test_two_learn_what_one_learns_from_the_same_batches(tmp_path, together, weights, pool, parts):
    """From prompts that start from the images of both; with gradients of several small batches added up, too."""
    changes = {
        'model.backbone': dict(net=net(weights=weights), with_cp=parts > 1),
        'optim_wrapper': dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9), accumulative_counts=parts),
        'param_scheduler': [],  # which counts batches, not steps
    }
    start = [dict(type='PromptInitHook', pool=pool, batches=2 * count) for count in (1, parts)]
    one = {**changes, 'optim_wrapper.accumulative_counts': 1}
    runner(tmp_path / 'one', hooks=[DEEP, start[0]], train_dataloader=batch(12), **one).train()
    together('two', hooks=[DEEP, start[1]], train_dataloader=batch(6 // parts), **changes)
    close(trained(tmp_path / 'two'), trained(tmp_path / 'one'))


def test_two_share_features_and_learn_what_one_learns_without(tmp_path, together, weights):
    """With the gradients of several batches added up. Each computes its features, or waits for the other's."""
    linear = dict(type='PromptTuningHook', tune=['head'])
    changes = dict(param_scheduler=[], val_cfg=None, val_dataloader=None, val_evaluator=None)
    changes |= {'model.backbone.net': net(weights=weights), 'optim_wrapper.optimizer': dict(type='SGD', lr=0.1)}
    runner(tmp_path / 'one', hooks=[linear], train_dataloader=batch(12), **changes).train()
    cache = dict(type='FeatureCacheHook', folder=str(tmp_path / 'features'))
    adding = {'optim_wrapper.accumulative_counts': 2}
    together('two', hooks=[linear, cache], train_dataloader=batch(3), **changes, **adding)
    close(trained(tmp_path / 'two'), trained(tmp_path / 'one'))
    assert len(list((tmp_path / 'features').glob('*/features.npy'))) == 1


@pytest.mark.parametrize('kind', [pytest.param('OptimWrapper', marks=pytest.mark.slow), 'ProGradOptimWrapper'])
def test_two_learn_the_prompts_of_both_towers_that_one_learns(tmp_path, together, kind):
    """MaPLe's, pulled to the frozen towers as in PromptSRC, or with gradients projected as in ProGrad; averaged."""
    words = dict(type='ContextPrompter', num_tokens=2, words='a photo of a', depth=2)
    pulls = [dict(type='TextPull'), dict(type='ImagePull'), dict(type='LogitPull')]
    average = dict(type='GaussianAverageHook', mean=1.0)
    changes = prompts_of_towers(words, dict(type='CoupledPrompter'), [average], write_towers(tmp_path), pulls=pulls)
    changes |= dict(optim_wrapper=dict(type=kind, optimizer=dict(type='SGD', lr=0.1)), param_scheduler=[])
    runner(tmp_path / 'one', train_dataloader=batch(12), **changes).train()
    together('two', train_dataloader=batch(6), **changes)
    close(trained(tmp_path / 'two'), trained(tmp_path / 'one'))


MAPPED = {'model.head': dict(type='ClsHead', _delete_=True), 'optim_wrapper.optimizer': dict(type='SGD', lr=0.0)}


@pytest.mark.parametrize(
    ('kind', 'options', 'number'),
    [
        # Estimated anew after the first epoch, from what the network said while it was trained: of 21 images one is
        # there twice, so that both have 11.
        ('BayesianMapping', dict(online=True), 21),
        # In a pass of its own, and nothing trains; the second process has no image.
        ('BayesianMapping', dict(every=0), 1),
    ],
    ids=['online', 'nothing trains'],
)
def test_two_count_every_image_once(tmp_path, together, weights, kind, options, number):
    trains = number > 1
    mapping = dict(type=kind, num_classes=3, **options)
    changes = {
        'hooks': [hook(dict(type='PixelPrompter', space='unit') if trains else None, tune=[], mapping=mapping)],
        'model.backbone.net': net(weights=weights, num_classes=9),
        'train_dataloader': loader(True, number=number),
        **MAPPED,
    }
    if not trains:
        changes['hooks'][0]['prompter'] = None
    runner(tmp_path / 'one', **changes).train()
    together('two', **changes)
    ours, theirs = trained(tmp_path / 'two'), trained(tmp_path / 'one')
    torch.testing.assert_close(ours['backbone.mapping.weight'], theirs['backbone.mapping.weight'], rtol=0, atol=0)


def test_two_evaluate_every_image_once(tmp_path, start, torchrun):
    """Thirteen images for two processes; an untrained network is right now and then."""
    changes = {'train_cfg.max_epochs': 1, 'optim_wrapper.optimizer.lr': 1e-4}
    run = runner(tmp_path / 'work', **changes)
    run.train()
    evaluators = dict(test_evaluator=[dict(type='Accuracy'), dict(type='Evaluated')])
    weights = tmp_path / 'weights.pth'
    torch.save(run.model.backbone.net.model.state_dict(), weights)
    changes.update(evaluators, **{'model.backbone.net': net(weights=str(weights))})
    config = write_config(tmp_path / 'c.py', tmp_path / 'test', test_dataloader=loader(False, number=13), **changes)
    found = []
    for tool in (start, partial(torchrun, 2)):
        out = tmp_path / f'{len(found)}.json'
        status, output = tool('test', config, newest(tmp_path / 'work'), '--out', out, log=tmp_path / 'log')
        assert status == 0, output
        found.append(json.loads(out.read_text()))
    assert found[0] == found[1]
    assert found[1]['images'] == found[1]['different'] == 13
    assert found[1]['accuracy/top1'] == pytest.approx(100 * round(13 * found[1]['accuracy/top1'] / 100) / 13)


LONG = {'train_dataloader': loader(True, [dict(type='RandomFlip', prob=0.5)]), 'train_cfg.max_epochs': 3}


def ends_as(ours, theirs):
    """The last checkpoints of two runs are equal to the bit."""
    ours, theirs = ({key: load(newest(folder))[key] for key in KEPT} for folder in (ours, theirs))
    return not differences(ours, theirs)


@pytest.fixture
def straight(tmp_path, together):
    """A run of two processes, with prompt dropout and augmentation, that nothing interrupts: three epochs of two
    iterations."""
    weights = str(write_weights(tmp_path / 'weights.pth'))
    changes = {**LONG, 'model.backbone.net': net(weights=weights)}
    together('straight', hooks=[hook()], **changes)
    return changes


def test_one_dies_and_all_end_and_go_on(tmp_path, together, straight):
    """By hand, and by torchrun itself."""
    deadly = [hook(), dict(type='KillHook', iteration=3, rank=1)]
    began = time.monotonic()
    output = together('killed', hooks=deadly, fails=True, **straight)
    assert time.monotonic() - began < 120
    # Of the dead one, or of the other, where torchrun noticed that one first.
    assert re.search(r'rank +: 1 \(local_rank: 1\)\n +exitcode +: -9|Connection (reset|closed) by peer', output)
    assert newest(tmp_path / 'killed').name == 'epoch_1.pth'
    together('killed', '--resume', hooks=[hook()], **straight)
    assert ends_as(tmp_path / 'killed', tmp_path / 'straight')
    together('elastic', '--resume', hooks=deadly, restarts=1, **straight)
    assert ends_as(tmp_path / 'elastic', tmp_path / 'straight')


def test_two_that_load_different_files_do_not_train_apart(tmp_path, weights, torchrun):
    changes = {'model.backbone.net': net(weights=weights), 'train_cfg.max_epochs': 1}
    for rank in range(2):
        runner(tmp_path / f'of_{rank}', hooks=[DEEP], randomness=dict(seed=rank), **changes).train()
    config = write_config(tmp_path / 'c.py', tmp_path / 'work', hooks=[DEEP], **changes)
    folder = f"{str(tmp_path / 'of_')!r} + os.environ['RANK']"
    config.write_text(f"{config.read_text()}\nimport os\nload_from = {folder} + '/prompt.safetensors'\n")
    status, output = torchrun(2, 'train', config, log=tmp_path / 'log')
    assert status != 0
    assert 'what trains begins with other values in process 1 than in process 0' in output


def test_another_number_of_processes_does_not_go_on(tmp_path, together, weights):
    """A schedule counts the iterations of an epoch."""
    changes = {'model.backbone.net': net(weights=weights)}
    runner(tmp_path / 'work', hooks=[DEEP], **changes, **{'train_cfg.max_epochs': 1}).train()
    output = together('work', '--resume', hooks=[DEEP], fails=True, **changes)
    assert 'has done 3 iterations in 1 epochs, here an epoch has 2 (number of processes 2, then 1' in output
    together('work', '--resume', hooks=[DEEP], train_dataloader=batch(4), **changes)  # as many images for a step


def test_two_go_on_with_gradients_that_were_pending(tmp_path, together, weights):
    """Each with its own."""
    changes = {'model.backbone.net': net(weights=weights), 'train_cfg.max_epochs': 3}
    changes |= {'optim_wrapper.accumulative_counts': 3}
    together('straight', hooks=[hook()], **changes)
    together('cut', hooks=[hook(), dict(type='KillHook', iteration=3, rank=1)], fails=True, **changes)
    assert 'gradients' in load(newest(tmp_path / 'cut'))
    together('cut', '--resume', hooks=[hook()], **changes)
    assert ends_as(tmp_path / 'cut', tmp_path / 'straight')


def test_two_draw_the_same_subset(tmp_path, together, weights):
    """Where there is no record of it yet, both write one."""
    for label in CLASSES:
        (tmp_path / 'data' / 'train' / label).mkdir(parents=True)
        for i in range(8):
            image = np.full((16, 16, 3), 9 * i, np.uint8)
            cv2.imwrite(str(tmp_path / 'data' / 'train' / label / f'{i}.png'), image)
    data = dict(type='CustomImages', data_root=str(tmp_path / 'data'), split='train')
    data['subset'] = dict(shots=4, seed=1, record=str(tmp_path / 'record.json'))
    data['pipeline'] = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    changes = {'model.backbone.net': net(weights=weights), 'train_dataloader.dataset': data | {'_delete_': True}}
    changes['custom_imports.imports'] = ['vptx.datasets', 'runs']
    together('work', hooks=[DEEP], **changes)
    assert len(json.loads((tmp_path / 'record.json').read_text())['indices']) == 12


@pytest.mark.slow
def test_two_processes_learn_the_same(tmp_path):
    """Real distributed training on a CPU: equal prompts on both, one checkpoint, one prompt file."""
    hooks = [hook(), dict(type='DumpRank')]
    config = write_config(tmp_path / 'config.py', tmp_path / 'work', hooks=hooks)
    done = subprocess.run(
        ['tools/dist_train.sh', str(config), '2'],
        env=environment() | dict(PYTHON=sys.executable),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = (load(tmp_path / 'work' / f'rank_{rank}.pth') for rank in range(2))
    assert not differences(first['state'], second['state'])
    assert first['images'].isdisjoint(second['images'])
    assert not differences(load(newest(tmp_path / 'work'))['state_dict'], first['state'])
    names = file_names(list(first['state']), 'backbone.')
    expected = {names[name]: value for name, value in first['state'].items()}
    assert not differences(read_prompt(tmp_path / 'work' / 'prompt.safetensors')[0], expected)


def test_scripts_for_many_processes_pass_on_what_they_are_given(tmp_path):
    """A stand-in writes down how it was called: Slurm's, and torchrun on one machine of two."""
    for name in ('srun', 'python'):
        (tmp_path / name).write_text('#!/bin/sh\necho "$TORCH_DISABLE_SHARE_RDZV_TCP_STORE" "$@"\n')
        (tmp_path / name).chmod(0o755)
    surroundings = dict(PATH=f'{tmp_path}:{os.environ["PATH"]}', NNODES='2', NODE_RANK='1', GPUS='16')

    def called(*command: str) -> str:
        return subprocess.run(command, env=surroundings, capture_output=True, text=True, check=True).stdout

    slurm = called('tools/slurm_train.sh', 'gpu', 'flowers', 'config.py', '--resume')
    assert '--ntasks=16 --ntasks-per-node=8' in slurm
    assert slurm.endswith('tools/train.py config.py --launcher slurm --resume\n')
    surroundings |= dict(GPUS='0', NTASKS='4', NODES='2')
    slurm = called('tools/slurm_train.sh', 'cpu', 'flowers', 'config.py')
    assert '--nodes=2 --ntasks=4' in slurm and '--gres' not in slurm
    # A batch job writes the same command into a script, which goes on from the last checkpoint.
    (tmp_path / 'sbatch').write_text('#!/bin/sh\necho "$@"\ncat\n')
    (tmp_path / 'sbatch').chmod(0o755)
    surroundings |= dict(BATCH='1', MAX_RESTARTS='2', SIGNAL='90')
    batch = called('tools/slurm_train.sh', 'cpu', 'flowers', 'my config.py', '--amp')
    assert '--signal=USR1@90' in batch and '--requeue' in batch and 'RESTART_COUNT:-0} < 2' in batch
    assert 'tools/train.py my\\ config.py --launcher slurm --resume --amp \n' in batch
    del surroundings['MAX_RESTARTS']
    torchrun = called('tools/dist_train.sh', 'config.py', '8', '--cfg-options', 'a=1')
    assert '--nnodes 2 --node-rank 1' in torchrun and '--max-restarts 0' in torchrun
    assert torchrun.endswith('--nproc-per-node 8 tools/train.py config.py --launcher pytorch --cfg-options a=1\n')
    surroundings['MAX_RESTARTS'] = '3'
    elastic = called('tools/dist_train.sh', 'config.py', '8', '--amp')
    assert elastic.startswith('1 ') and '--max-restarts 3' in elastic
    assert '--nnodes 2 --rdzv-id vptx --rdzv-backend c10d' in elastic and '--node-rank' not in elastic
    assert elastic.endswith('tools/train.py config.py --launcher pytorch --resume --amp\n')
    assert '--rdzv-conf is_host=0' in elastic  # of rank 1
    surroundings |= dict(NNODES='2:3', LOCAL_ADDR='10.0.0.2')
    del surroundings['MAX_RESTARTS']
    elastic = called('tools/dist_train.sh', 'config.py', '8')
    assert '--nnodes 2:3' in elastic and '--max-restarts 3' in elastic and '--local-addr 10.0.0.2' in elastic
    for script in ('dist_train', 'slurm_train', 'slurm_experiment'):
        done = subprocess.run([f'tools/{script}.sh', 'config.py'], capture_output=True, text=True)
        assert done.returncode == 2
        assert f'tools/{script}.sh' in done.stderr


def test_scripts_say_where_there_is_no_slurm(tmp_path):
    for name in ('bash', 'dirname', 'env'):
        (tmp_path / name).symlink_to(shutil.which(name))
    for script, program in (('slurm_train', 'srun'), ('slurm_experiment', 'sbatch')):
        done = subprocess.run(
            [f'tools/{script}.sh', 'cpu', 'job', '2', 'config.py'],
            env=dict(PATH=str(tmp_path)),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 127
        assert f'there is no {program} here: Slurm is not installed' in done.stderr
