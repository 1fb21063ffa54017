"""A run that does not do what its config says is stopped, and says why."""

import re

import cv2
import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmpretrain.models import LinearClsHead
from runs import hook, load, loader, newest, runner

from vptx.registry import HOOKS, MODELS


@MODELS.register_module(force=True)
class HalfUsedHead(LinearClsHead):
    """A head with a layer that nothing passes through."""

    def __init__(self, **arguments) -> None:
        super().__init__(**arguments)
        self.spare = torch.nn.Linear(4, 4)


@HOOKS.register_module(force=True)
class Thaw(Hook):
    """Lets a frozen tensor train behind everyone's back."""

    def before_train_iter(self, runner, **_) -> None:
        runner.model.backbone.net.model.pos_embed.requires_grad_(True)


@HOOKS.register_module(force=True)
class Explode(Hook):
    """Makes the loss infinite, or not a number, at an iteration, by way of the weights."""

    def __init__(self, iteration: int, value: float) -> None:
        self.iteration, self.value = iteration, value

    def before_train_iter(self, runner, **_) -> None:
        if runner.iter + 1 == self.iteration:
            with torch.no_grad():
                runner.model.head.fc.bias[0] = self.value


def test_a_trainable_tensor_that_nothing_uses(tmp_path):
    run = runner(tmp_path, **{'model.head.type': 'HalfUsedHead'})
    message = r'after the first iteration: trainable, but no gradient reached head\.spare\.bias, head\.spare\.weight\. '
    with pytest.raises(RuntimeError, match=message + r'Is tune=\[\.\.\.\]'):
        run.train()
    assert run.iter == 0


def test_a_frozen_tensor_that_something_trains(tmp_path):
    run = runner(tmp_path, hooks=[hook(), dict(type='Thaw')])
    with pytest.raises(RuntimeError, match=r'frozen, but trained by something backbone\.net\.model\.pos_embed\.'):
        run.train()


def test_gradients_that_come_late_are_fine(tmp_path):
    runner(tmp_path, **{'optim_wrapper.accumulative_counts': 3}).train()
    assert newest(tmp_path).name == 'epoch_2.pth'


def test_nothing_is_watched_after_the_first_iteration(tmp_path):
    run = runner(tmp_path)
    run.train()
    assert not any(parameter._post_accumulate_grad_hooks for parameter in run.model.parameters())


@pytest.mark.parametrize('value', [float('inf'), float('nan')], ids=str)
def test_a_loss_that_is_no_number(tmp_path, value):
    run = runner(tmp_path, hooks=[hook(), dict(type='Explode', iteration=5, value=value)])
    with pytest.raises(FloatingPointError) as error:
        run.train()
    message = str(error.value)
    assert re.match(
        r'loss is (nan|inf) at iteration 5 \(epoch 2, batch 2: (tiny_\d+\.png, ){7}tiny_\d+\.png\)\. ', message
    )
    assert f'The last checkpoint in {tmp_path} is good' in message
    assert 'clip_grad' in message
    assert newest(tmp_path).name == 'epoch_1.pth'
    assert all(tensor.isfinite().all() for tensor in load(newest(tmp_path))['state_dict'].values())


def test_an_image_that_is_no_number_is_among_those_named(tmp_path):
    run = runner(tmp_path, train_dataloader=loader(True, spoilt=10))
    with pytest.raises(FloatingPointError, match=r'loss is nan at iteration \d .*tiny_10\.png'):
        run.train()
    assert not list(tmp_path.glob('*.pth'))


def test_it_stops_before_the_last_checkpoint_too(tmp_path):
    run = runner(tmp_path, hooks=[hook(), dict(type='Explode', iteration=6, value=float('nan'))])
    with pytest.raises(FloatingPointError):
        run.train()
    assert newest(tmp_path).name == 'epoch_1.pth'
    assert not (tmp_path / 'prompt.safetensors').exists()


@pytest.mark.parametrize('which', ['train', 'test'])
def test_an_empty_data_set(tmp_path, which):
    run = runner(tmp_path, param_scheduler=None, **{f'{which}_dataloader': loader(False, number=0)})
    with pytest.raises(ValueError, match='the data set TinyImages is empty'):
        getattr(run, which)()


@pytest.mark.parametrize('which', ['train', 'test'])
def test_more_classes_than_the_head_has(tmp_path, which):
    run = runner(tmp_path, **{'model.head.num_classes': 5})
    with pytest.raises(ValueError, match='the data set TinyImages has 3 classes, the head num_classes=5'):
        getattr(run, which)()


@pytest.mark.parametrize(
    ('content', 'workers'), [(b'', 0), (b'', 1), (b'not an image', 0), ('half', 0), (None, 0)], ids=str
)
def test_an_unreadable_image_is_named(tmp_path, content, workers):
    """Of a folder with one folder for each class, as most users have it."""
    for label in 'abc':
        (tmp_path / 'data' / label).mkdir(parents=True)
        for i in range(3):
            cv2.imwrite(str(tmp_path / 'data' / label / f'{i}.png'), np.full((16, 16, 3), 40 * i, np.uint8))
    bad = tmp_path / 'data' / 'b' / '1.png'
    whole = bad.read_bytes()
    pipeline = [dict(type='LoadImageFromFile')]
    data = dict(type='CustomDataset', data_prefix=str(tmp_path / 'data'), _delete_=True)
    data['pipeline'] = [*pipeline, dict(type='PackInputs')]
    data['lazy_init'] = False
    loaders = dict(train_dataloader=dict(loader(True, workers=workers), dataset=data), val_dataloader=None)
    run = runner(tmp_path / 'work', val_cfg=None, val_evaluator=None, **loaders)
    run._train_loop = run.build_train_loop(run._train_loop)  # the files are listed here
    if content is None:
        bad.unlink()
    else:
        bad.write_bytes(whole[: len(whole) // 2] if content == 'half' else content)
    with pytest.raises((ValueError, FileNotFoundError), match=r'data/b/1\.png cannot be read as an image: '):
        run.train()
