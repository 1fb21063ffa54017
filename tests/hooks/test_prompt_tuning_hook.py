"""The hook in real runs of a few iterations."""

import logging

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import DefaultOptimWrapperConstructor
from mmpretrain.models import StackedLinearClsHead
from runs import differences, hook, interrupted, load, loader, net, newest, runner, write_weights

import vptx
from vptx.attach import find_prompted_network
from vptx.hooks import SafeCheckpointHook
from vptx.registry import HOOKS, OPTIM_WRAPPER_CONSTRUCTORS

DEEP = dict(type='DeepPrompter', num_tokens=3)
MLP_HEAD = dict(
    type='StackedLinearClsHead', num_classes=3, in_channels=32, mid_channels=[8], norm_cfg=dict(type='BN1d')
)


@HOOKS.register_module(force=True)
class Record(Hook):
    """Keeps what it sees of a run."""

    priority = 'LOW'

    def __init__(self) -> None:
        self.rates, self.modes, self.epochs, self.seen = [], [], set(), None

    def before_run(self, runner) -> None:
        self.seen = runner.model

    def before_train_iter(self, runner, **_) -> None:
        self.rates.append(runner.optim_wrapper.get_lr()['lr'][0])
        self.epochs.add(runner.epoch + 1)
        self.modes.append({name for name, module in runner.model.named_modules() if module.training})


@OPTIM_WRAPPER_CONSTRUCTORS.register_module(force=True)
class OfAUser(DefaultOptimWrapperConstructor):
    """A constructor that a user wrote: one group for the head alone."""

    def __call__(self, model):
        wrapper = super().__call__(model)
        wrapper.optimizer.param_groups[0]['of_a_user'] = True
        return wrapper


RECORDED = [hook(), dict(type='Record')]


def recorded(run) -> Record:
    return next(h for h in run.hooks if isinstance(h, Record))


def test_a_stock_config_becomes_prompt_tuning(tmp_path):
    run = runner(tmp_path, hooks=[hook(DEEP)])
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.train()
    changed = {n for n, v in run.model.state_dict().items() if n not in before or not torch.equal(v, before[n])}
    rows = {f'backbone.prompter.embedding.rows.{i}' for i in range(2)}
    assert changed == rows | {'head.fc.weight', 'head.fc.bias'}
    assert {n for n, p in run.model.named_parameters() if p.requires_grad} == changed


def test_the_table_is_logged_once(tmp_path):
    run = runner(tmp_path, log_level='INFO', **{'train_cfg.max_epochs': 1})
    run.train()
    run.test()
    text = (tmp_path / run.timestamp / f'{run.timestamp}.log').read_text()
    assert text.count('what trains:') == 1
    assert 'backbone.prompter' in text


@pytest.mark.parametrize('paramwise', [None, dict(norm_decay_mult=0.0, custom_keys={'prompter': dict(lr_mult=10)})])
def test_the_optimizer_holds_what_trains_and_nothing_else(tmp_path, paramwise, caplog):
    run = runner(
        tmp_path, optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, weight_decay=0.1), paramwise_cfg=paramwise)
    )
    with caplog.at_level(logging.WARNING):
        run.train()
    names = {id(parameter): name for name, parameter in run.model.named_parameters()}
    # MMEngine notes the base rate in a group of its own, around a number that is no parameter.
    groups = [group for group in run.optim_wrapper.param_groups if group['params'][0].requires_grad]
    held = {names[id(p)]: group['lr'] for group in groups for p in group['params']}
    assert set(held) == {n for n, p in run.model.named_parameters() if p.requires_grad}
    if paramwise:
        prompt, head = held['backbone.prompter.embedding.rows.0'], held['head.fc.weight']
        assert prompt == pytest.approx(10 * head)
    text = (tmp_path / run.timestamp / f'{run.timestamp}.log').read_text()
    assert 'requires_grad=False' not in text
    assert 'requires_grad=False' not in caplog.text


def test_the_users_own_constructor_is_respected(tmp_path):
    run = runner(tmp_path, optim_wrapper=dict(constructor='OfAUser', optimizer=dict(type='SGD', lr=0.1)))
    run.train()
    assert run.optim_wrapper.optimizer.param_groups[0]['of_a_user']


def test_auto_scale_lr_and_schedulers_are_right_after_the_rebuild(tmp_path):
    scheduler = [dict(type='LinearLR', start_factor=0.5, by_epoch=False, begin=0, end=4)]
    run = runner(
        tmp_path,
        hooks=RECORDED,
        param_scheduler=scheduler,
        auto_scale_lr=dict(enable=True, base_batch_size=32),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.8)),
    )
    run.train()
    rate = 0.8 * 8 / 32  # batches of 8, scaled once
    factors = [0.5 + 0.5 * min(step, 3) / 3 for step in range(6)]
    assert recorded(run).rates == pytest.approx([rate * factor for factor in factors])


def test_converted_schedulers_count_iterations(tmp_path):
    """``convert_to_iter_based`` asks the train loop for the length of an epoch."""
    run = runner(tmp_path, hooks=RECORDED)
    run.train()
    assert run.param_schedulers[0].T_max == 6
    assert len(set(recorded(run).rates)) == 6


def test_other_hooks_see_the_prompted_model(tmp_path):
    run = runner(tmp_path, hooks=[dict(type='Record', priority='VERY_HIGH'), hook()])
    run.train()
    assert find_prompted_network(recorded(run).seen).attach_state is not None


@pytest.mark.parametrize('tune', [['head'], [r'head\.layers\.0\.fc', r'head\.layers\.1']], ids=['all', 'not its norm'])
def test_a_head_with_batch_norm(tmp_path, tune):
    """What trains gathers statistics, and they are kept; what is frozen does not, wherever it is."""
    run = runner(
        tmp_path, hooks=[hook(DEEP, tune), dict(type='Record')], **{'model.head': MLP_HEAD | {'_delete_': True}}
    )
    assert isinstance(run.model.head, StackedLinearClsHead)
    run.train()
    buffers = {'head.layers.0.norm.running_mean', 'head.layers.0.norm.running_var'}
    norm = run.model.head.layers[0].norm
    tuned = tune == ['head']
    assert (norm.num_batches_tracked > 0) == tuned
    assert norm.running_mean.any() == tuned
    assert all(('head.layers.0.norm' in modes) == tuned for modes in recorded(run).modes)
    saved = load(newest(tmp_path))['state_dict']
    assert (buffers <= saved.keys()) == tuned
    # A fresh run gives the same numbers from the checkpoint.
    again = runner(
        tmp_path / 'again',
        hooks=[hook(DEEP, tune)],
        load_from=str(newest(tmp_path)),
        **{'model.head': MLP_HEAD | {'_delete_': True}},
    )
    again.test()
    ours, theirs = again.model.state_dict(), run.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_without_prompter_it_is_linear_probing(tmp_path):
    run = runner(tmp_path, hooks=[dict(type='PromptTuningHook', tune=['head'])])
    run.train()
    assert set(load(newest(tmp_path))['state_dict']) == {'head.fc.weight', 'head.fc.bias'}


def test_the_readout_of_the_hook(tmp_path):
    run = runner(tmp_path, hooks=[hook(DEEP, readout='mean')], **{'train_cfg.max_epochs': 1})
    run.train()
    assert run.model.backbone.readout == 'mean'


def test_train_and_then_test_in_one_runner(tmp_path):
    run = runner(tmp_path, train_cfg=dict(by_epoch=True, max_epochs=20, val_interval=100))
    run.train()
    trained = {name: value.clone() for name, value in run.model.state_dict().items()}
    metrics = run.test()
    assert metrics['accuracy/top1'] > 60  # of three classes that differ in brightness
    assert all(torch.equal(value, trained[name]) for name, value in run.model.state_dict().items())
    alone = runner(tmp_path / 'alone', load_from=str(newest(tmp_path)))
    assert alone.test() == metrics


def test_loading_a_prompt_file(tmp_path):
    run = runner(tmp_path)
    run.train()
    alone = runner(tmp_path / 'alone', load_from=str(tmp_path / 'prompt.safetensors'))
    alone.test()
    ours, theirs = alone.model.state_dict(), run.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_warm_start_goes_on_from_the_prompts_and_begins_at_epoch_one(tmp_path):
    runner(tmp_path / 'first').train()
    warm = runner(tmp_path / 'warm', load_from=str(newest(tmp_path / 'first')), **{'optim_wrapper.optimizer.lr': 0.0})
    warm.train()
    assert warm.epoch == 2
    first, second = (load(newest(tmp_path / name))['state_dict'] for name in ('first', 'warm'))
    assert not differences(first, second)


def test_a_prompt_file_cannot_be_resumed_from(tmp_path):
    runner(tmp_path).train()
    run = runner(tmp_path, resume=True, load_from=str(tmp_path / 'prompt.safetensors'))
    with pytest.raises(ValueError, match=r'prompt\.safetensors holds no optimizer: .* resume from a \.pth'):
        run.train()


def test_a_checkpoint_of_someone_else_is_refused(tmp_path):
    torch.save(dict(state_dict={}, meta={}), tmp_path / 'theirs.pth')
    with pytest.raises(ValueError, match=r'not written by a run with PromptTuningHook.*weights=') as error:
        runner(tmp_path, load_from=str(tmp_path / 'theirs.pth')).train()
    assert 'backbone=dict(net=' in str(error.value)


def test_a_checkpoint_of_another_prompter_is_refused(tmp_path):
    runner(tmp_path).train()
    other = runner(tmp_path / 'other', hooks=[hook(dict(DEEP, num_tokens=4))], load_from=str(newest(tmp_path)))
    with pytest.raises(ValueError, match=r'epoch_\d\.pth does not fit this model: it has .* of shape \(3, 32\)'):
        other.train()


def test_a_checkpoint_of_other_frozen_weights_is_refused(tmp_path):
    runner(tmp_path).train()
    other = runner(tmp_path / 'other', randomness=dict(seed=1), load_from=str(newest(tmp_path)))
    with pytest.raises(ValueError, match=r'epoch_\d\.pth was trained on other frozen weights'):
        other.train()


def test_an_optimizer_that_was_built_by_hand(tmp_path):
    run = runner(tmp_path)
    run.cfg.pop('optim_wrapper')
    with pytest.raises(ValueError, match='make the Runner by from_cfg'):
        run.train()


# Resuming


def straight(tmp_path, **changes):
    run = runner(tmp_path / 'straight', **changes)
    run.train()
    return load(newest(tmp_path / 'straight'))


def compare(ours: dict, theirs: dict) -> list[str]:
    keys = ['state_dict', 'optimizer', 'param_schedulers', 'ema_state_dict']
    return [d for key in keys for d in differences(ours.get(key), theirs.get(key), key)]


AUGMENTED = dict(pipeline=[dict(type='RandomFlip', prob=0.5), dict(type='RandomCrop', crop_size=16, padding=2)])


def by_iteration(val_interval: int = 100, num_workers: int = 0) -> dict:
    return dict(
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=9, val_interval=val_interval, _delete_=True),
        train_dataloader=dict(loader(True, **AUGMENTED), sampler=dict(type='InfiniteSampler'), num_workers=num_workers),
        param_scheduler=[dict(type='CosineAnnealingLR', by_epoch=False, T_max=9)],
        **{'default_hooks.checkpoint': dict(type='CheckpointHook', interval=3, by_epoch=False, _delete_=True)},
    )


CASES = {
    'by epoch': {},
    'augmented': dict(train_dataloader=loader(True, **AUGMENTED)),
    'ema': dict(hooks=[hook(), dict(type='EMAHook', momentum=0.3)]),
    'batch norm': {'model.head': MLP_HEAD | {'_delete_': True}},
    'accumulated': {'optim_wrapper.accumulative_counts': 2},
    'by iteration': by_iteration(),
    'by iteration, validated in between': by_iteration(val_interval=2),
    'by iteration, with workers': by_iteration(num_workers=2),
}


@pytest.mark.parametrize('case', CASES)
def test_resumed_runs_end_bit_equal(tmp_path, case):
    changes = dict({} if 'train_cfg' in CASES[case] else {'train_cfg.max_epochs': 3}, **CASES[case])
    expected = straight(tmp_path, **changes)
    interrupted(tmp_path / 'cut', 7, **changes)
    runner(tmp_path / 'cut', resume=True, **changes).train()
    assert not compare(load(newest(tmp_path / 'cut')), expected)


def test_a_run_without_a_seed_resumes_with_the_one_it_drew(tmp_path):
    changes = {
        'train_cfg.max_epochs': 3,
        'model.backbone.net': net(weights=str(write_weights(tmp_path / 'weights.pth'))),
        'train_dataloader': loader(True, **AUGMENTED),
    }
    interrupted(tmp_path / 'cut', 7, **changes, randomness=dict(seed=None))
    seed = load(newest(tmp_path / 'cut'))['meta']['seed']
    runner(tmp_path / 'cut', resume=True, **changes, randomness=dict(seed=None)).train()
    expected = straight(tmp_path, **changes, randomness=dict(seed=seed))
    assert not compare(load(newest(tmp_path / 'cut')), expected)


def test_resuming_goes_on_from_the_newest_checkpoint(tmp_path):
    interrupted(tmp_path, 4)
    assert newest(tmp_path).name == 'epoch_1.pth'
    run = runner(tmp_path, resume=True, hooks=RECORDED)
    run.train()
    assert recorded(run).epochs == {2}


@pytest.mark.parametrize('pointer', ['missing', 'empty', 'half', 'elsewhere'])
def test_a_lost_pointer(tmp_path, pointer):
    changes = {'hooks': RECORDED, 'train_cfg.max_epochs': 3, 'default_hooks.checkpoint.max_keep_ckpts': 5}
    interrupted(tmp_path, 7, **changes)
    path = tmp_path / 'last_checkpoint'
    text = path.read_text()
    path.unlink()
    if pointer != 'missing':
        path.write_text(dict(empty='', half=text[:-5], elsewhere='/nowhere/epoch_9.pth')[pointer])
    (tmp_path / 'best_accuracy_top1_epoch_9.pth').write_bytes(b'has no optimizer')  # is not the newest of a run
    (tmp_path / '.epoch_3.pth.part').write_bytes(b'half')
    run = runner(tmp_path, resume=True, **changes)
    run.train()
    assert recorded(run).epochs == {3}


@pytest.mark.parametrize('pointer', [None, '', '/nowhere/epoch_9.pth'])
def test_nothing_to_resume_starts_from_the_beginning(tmp_path, pointer):
    if pointer is not None:
        (tmp_path / 'last_checkpoint').write_text(pointer)
    run = runner(tmp_path, resume=True, hooks=RECORDED)
    run.train()
    assert recorded(run).epochs == {1, 2}


def test_a_moved_folder_resumes(tmp_path):
    interrupted(tmp_path / 'before', 4)
    (tmp_path / 'before').rename(tmp_path / 'after')
    run = runner(tmp_path / 'after', resume=True, hooks=RECORDED)
    run.train()
    assert recorded(run).epochs == {2}


def test_checkpoint_hooks_become_safe_ones(tmp_path):
    run = runner(tmp_path)
    run.train()
    assert any(type(h) is SafeCheckpointHook for h in run.hooks)


def test_the_model_can_be_detached_after_the_run(tmp_path):
    run = runner(tmp_path)
    run.train()
    model = vptx.detach(run.model)
    assert find_prompted_network(model).attach_state is None


def test_a_classifier_of_the_network_that_nothing_reads_is_not_trained(tmp_path):
    """'head' names timm's classifier, and the head of mmpretrain above it."""
    own = dict(backbone=dict(net=net(num_classes=9)))
    with pytest.raises(
        ValueError, match=r"tune matches backbone\.net\.model\.head\.weight, .*readout='cls'.*'head\.fc'"
    ):
        runner(tmp_path / 'a', hooks=[hook(DEEP)], model=own).train()
    runner(tmp_path / 'b', hooks=[hook(DEEP, tune=['head.fc'])], model=own).train()
    # Where it is read, by a mapping, it may train.
    mapped = dict(own, head=dict(_delete_=True, type='ClsHead', loss=dict(type='CrossEntropyLoss')))
    run = runner(tmp_path / 'c', hooks=[hook(DEEP, mapping=dict(type='IndexMapping', num_classes=3))], model=mapped)
    run.train()
    assert run.model.backbone.net.model.head.weight.requires_grad


@pytest.mark.parametrize('file', ['prompt.safetensors', 'epoch_2.pth'])
def test_a_run_starts_from_prompts_of_another_task(file, tmp_path):
    weights = {'model.backbone.net': net(weights=str(write_weights(tmp_path / 'weights.pth')))}
    first = runner(tmp_path / 'first', **weights)
    first.train()
    classes = {'model.head.num_classes': 5, 'train_dataloader.dataset.classes': list('abcde')}
    changes = {**weights, **classes, 'load_from': str(tmp_path / 'first' / file), 'train_cfg.max_epochs': 1}
    refused = runner(tmp_path / 'refused', **changes)
    with pytest.raises(
        ValueError, match=r'outside\.head\.fc\.weight of shape \(3, .*load_head=False of PromptTuningHook'
    ):
        refused.train()
    second = runner(tmp_path / 'second', hooks=[hook(load_head=False), dict(type='Stop')], **changes)
    with pytest.raises(KeyboardInterrupt):
        second.train()
    ours, theirs = second.model.state_dict(), first.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours if name.startswith('backbone'))
    assert ours['head.fc.weight'].shape[0] == 5


@HOOKS.register_module(force=True)
class Stop(Hook):
    """Ends a run before its first iteration, when all is loaded."""

    def before_train(self, runner) -> None:
        raise KeyboardInterrupt
