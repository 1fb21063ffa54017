"""Configs that cannot be meant: one line each, before the first iteration."""

import warnings
from functools import partial

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook, Hook
from networks import images, tiny
from runs import hook, newest, runner, tiny_config

import vptx
from vptx.backbones import wrap_backbone
from vptx.hooks import FeatureCacheHook, PromptInitHook, SafeCheckpointHook
from vptx.hooks.prompt_tuning_hook import refuse_sharding
from vptx.prompted import PromptedBackbone
from vptx.registry import HOOKS

EMA = dict(type='EMAHook', momentum=0.3)


@HOOKS.register_module(force=True)
class First(Hook):
    """A hook of a user's that looks at nothing before a run."""

    priority = 'HIGHEST'

    def after_train_iter(self, runner, *_, **__) -> None:
        self.seen = runner.iter


@HOOKS.register_module(force=True)
class OwnCheckpointHook(CheckpointHook):
    """A user's kind of CheckpointHook."""

    def _save_checkpoint_with_step(self, runner, step, meta) -> None:
        self.saved = [*getattr(self, 'saved', []), step]
        super()._save_checkpoint_with_step(runner, step, meta)


REFUSED = {
    'hook twice': (dict(hooks=[hook(), hook()]), 'more than one PromptTuningHook: leave one'),
    'low priority': (dict(hooks=[dict(hook(), priority='LOW')]), "has priority='LOW', but it has to be the first"),
    'a number as priority': (dict(hooks=[dict(hook(), priority=30)]), 'has priority=30, but'),
    'average of the model without prompts': (
        dict(hooks=[dict(EMA, priority='HIGHEST'), hook()]),
        'EMAHook come before PromptTuningHook and have seen the model without prompts: list PromptTuningHook first',
    ),
    'no prompter, nothing tuned': (
        dict(hooks=[dict(type='PromptTuningHook')]),
        r'nothing trains with prompter=None and tune=\[\]: give PromptTuningHook a prompter',
    ),
    'everything taken out': (dict(hooks=[hook(tune=['!.*'])]), r"nothing trains with .*tune=\['!\.\*'\]"),
    'prompter as a name': (
        dict(hooks=[hook('DeepPrompter')]),
        r"a prompter is described by .* not by 'DeepPrompter': write dict\(type='DeepPrompter'\)",
    ),
    'mapping as a name': (dict(hooks=[hook(mapping='RandomMapping')]), r"write dict\(type='RandomMapping'\)"),
    'no list of patterns': (
        dict(hooks=[hook(tune=None)]),
        r'tune is a list of patterns, .* or \[\] for none; not None',
    ),
    'a list of lists': (dict(hooks=[hook(tune=[['head']])]), r"tune is a list of patterns, .* not \[\['head'\]\]"),
    'a yes as a number': (
        dict(hooks=[hook(dict(type='DeepPrompter', num_tokens=True))]),
        'num_tokens must be a whole number of at least 1, not True',
    ),
    'a step with a closure': (
        dict(optim_wrapper=dict(optimizer=dict(type='LBFGS', lr=0.1))),
        'LBFGS takes a step with a closure .* choose another optimizer',
    ),
    'activation checkpointing': (dict(activation_checkpointing=['backbone']), r'set model\.backbone\.with_cp=True'),
    'efficient_conv_bn_eval': (dict(efficient_conv_bn_eval=['backbone']), 'cannot be traced: leave it out'),
    'unknown metric': (
        {'default_hooks.checkpoint.save_best': 'acuracy/top1', 'default_hooks.checkpoint.rule': 'greater'},
        r"save_best='acuracy/top1': no metric .* begin with accuracy/",
    ),
    'features twice': (
        dict(hooks=[hook(), dict(type='FeatureCacheHook'), dict(type='FeatureCacheHook')]),
        'more than one FeatureCacheHook: leave one',
    ),
}


@pytest.mark.parametrize('case', REFUSED)
def test_refused_before_the_first_iteration(tmp_path, case):
    changes, message = REFUSED[case]
    run = runner(tmp_path, **changes)
    with pytest.raises((ValueError, TypeError), match=message) as error:
        run.train()
    assert '\n' not in str(error.value)
    assert run.iter == 0


def test_a_metric_that_validation_does_not_measure(tmp_path):
    checkpoint = {'default_hooks.checkpoint.save_best': 'accuracy/top2', 'train_cfg.val_interval': 1}
    run = runner(tmp_path, **checkpoint)
    with pytest.raises(ValueError, match="save_best='accuracy/top2': validation measures accuracy/top1, choose one"):
        run.train()


def test_hooks_that_look_at_nothing_before_a_run_may_come_first(tmp_path):
    run = runner(tmp_path, hooks=[dict(type='First'), hook(), EMA], **{'train_cfg.max_epochs': 1})
    run.train()
    assert next(found for found in run.hooks if isinstance(found, First)).seen == 2
    assert newest(tmp_path).name == 'epoch_1.pth'


def test_a_model_that_was_prompted_already(tmp_path):
    run = runner(tmp_path)
    vptx.attach(run.model, dict(type='ShallowPrompter', num_tokens=2))
    with pytest.raises(ValueError, match=r'already has a prompter: vptx\.detach\(model\) it first'):
        run.train()


def test_a_users_own_checkpoint_hook_saves_before_it_deletes(tmp_path):
    checkpoint = dict(type='OwnCheckpointHook', interval=1, max_keep_ckpts=1, save_optimizer=False)
    run = runner(tmp_path, **{'default_hooks.checkpoint': dict(checkpoint, _delete_=True)})
    run.train()
    found = next(found for found in run.hooks if isinstance(found, CheckpointHook))
    assert isinstance(found, SafeCheckpointHook) and isinstance(found, OwnCheckpointHook)
    assert found.saved == [1, 2]
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_2.pth']


@pytest.mark.parametrize(
    ('wrapper', 'message'),
    [
        ('MMDistributedDataParalel', 'there is no such model wrapper; did you mean MMDistributedDataParallel'),
        ('MMSeparateDistributedDataParallel', 'is for models that train their parts one by one'),
    ],
)
def test_model_wrappers(tmp_path, wrapper, message):
    with pytest.raises(ValueError, match=message):
        refuse_sharding(Config(tiny_config(tmp_path, model_wrapper_cfg=dict(type=wrapper))))


def test_initial_prompts_without_the_hook_that_makes_them(tmp_path):
    run = runner(tmp_path, hooks=[dict(type='PromptInitHook')])
    with pytest.raises(ValueError, match='PromptInitHook fills the prompts of PromptTuningHook: add that one'):
        run.train()


@pytest.mark.parametrize('batches', [0, 1.5, True])
def test_initial_prompts_from_nothing(batches):
    with pytest.raises(ValueError, match=f'batches must be a whole number of at least 1, not {batches}'):
        PromptInitHook(batches=batches)


@pytest.mark.parametrize('name', ['taken', 'taken/below'])
def test_features_in_a_file(tmp_path, name):
    (tmp_path / 'taken').touch()
    with pytest.raises(ValueError, match=r'FeatureCacheHook: folder=.* but .*taken is a file: name a folder'):
        FeatureCacheHook(folder=tmp_path / name)


@pytest.mark.parametrize('way', ['resume', 'test'])
def test_a_run_of_the_hook_goes_on_without_it(tmp_path, way):
    runner(tmp_path, **{'train_cfg.max_epochs': 1}).train()
    run = runner(tmp_path / way, hooks=[], load_from=str(newest(tmp_path)), resume=way == 'resume')
    with pytest.raises(ValueError, match='this checkpoint holds prompts, and the model has none: add PromptTuningHook'):
        run.train() if way == 'resume' else run.test()


# A prompted backbone that trains without prompts.

WARNING = 'PromptedBackbone trains without prompts, all '


def test_full_tuning_that_nobody_asked_for_is_told_once(tmp_path):
    run = runner(tmp_path, hooks=[])
    run.train()
    text = (tmp_path / run.timestamp / f'{run.timestamp}.log').read_text()
    assert text.count(WARNING) == 1
    (line,) = [line for line in text.splitlines() if WARNING in line]
    assert "add dict(type='PromptTuningHook'" in line and 'vptx.attach' in line


@pytest.mark.parametrize('case', ['prompted', 'asked for', 'evaluated', 'without gradients', 'frozen'])
def test_nothing_is_told_where_it_is_meant(case, capfd):
    model = PromptedBackbone(wrap_backbone(tiny())).train()
    run = partial(model, images())
    if case == 'prompted':
        vptx.attach(model, dict(type='DeepPrompter', num_tokens=2)).train()
    elif case == 'asked for':
        vptx.attach(model, tune=['.*']).train()
    elif case == 'evaluated':
        model.eval()
    elif case == 'frozen':
        model.net.model.pos_embed.requires_grad_(False)
    with warnings.catch_warnings(), torch.set_grad_enabled(case != 'without gradients'):
        warnings.simplefilter('error')
        run()
    assert WARNING not in ''.join(capfd.readouterr())


def test_any_loop_is_told(capfd):
    model = PromptedBackbone(wrap_backbone(tiny())).train()
    for _ in range(2):
        model(images())
    assert ''.join(capfd.readouterr()).count(WARNING) == 1
