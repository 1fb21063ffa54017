"""Settings that MMEngine would pass over, or fail on without a word about them."""

from argparse import Namespace
from pathlib import Path

import pytest
from mmengine.config import Config
from networks import tiny
from runs import REPO, runner, tiny_config, write_config

from vptx.configs import keep_features, load_config, make_runner
from vptx.settings import check_config, check_options, check_unserved, misspelt_keys, misspelt_settings

TEXT = [
    (dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr='0.1'))), "optim_wrapper.optimizer.lr='0.1' is text"),
    (dict(optim_wrapper=dict(clip_grad=dict(max_norm='1e-3'))), "optim_wrapper.clip_grad.max_norm='1e-3' is text"),
    (dict(param_scheduler=[dict(type='LinearLR', end='5')]), "param_scheduler.0.end='5' is text"),
    (dict(train_cfg=dict(by_epoch=True, max_epochs='2')), "train_cfg.max_epochs='2' is text: write the number"),
]


@pytest.mark.parametrize(('config', 'message'), TEXT, ids=[message.partition('=')[0] for _, message in TEXT])
def test_numbers_that_are_text(config, message):
    with pytest.raises(ValueError, match=message.replace('.', r'\.')):
        check_config(Config(config))


def test_words_are_no_numbers():
    optim = dict(type='AmpOptimWrapper', loss_scale='dynamic', clip_grad=dict(norm_type='inf'))
    check_config(Config(dict(optim_wrapper=optim, train_cfg=None, custom_hooks=[])))


@pytest.mark.parametrize('hooks', [dict(type='PromptTuningHook'), 'PromptTuningHook', ['PromptTuningHook']], ids=str)
def test_hooks_that_are_no_list_of_dicts(hooks, tmp_path):
    with pytest.raises(ValueError, match=r'custom_hooks is a list of dicts: write custom_hooks=\[dict'):
        make_runner(Config(dict(custom_hooks=hooks)))
    path = tmp_path / 'config.py'
    path.write_text(f'custom_hooks = {hooks!r}')
    args = Namespace(config=str(path), work_dir=None, cfg_options={}, launcher='none', features=str(tmp_path))
    with pytest.raises(ValueError, match='custom_hooks is a list of dicts'):
        load_config(args)


@pytest.mark.parametrize(
    ('option', 'told'),
    [
        ('optim_wraper.optimizer.lr', "nothing reads 'optim_wraper'; did you mean optim_wrapper?"),
        ('modle.head.num_classes', "nothing reads 'modle'; did you mean model?"),
        ('lr', "nothing reads 'lr'. There are "),
    ],
)
def test_an_option_of_the_command_line_that_nothing_reads(tmp_path, option, told):
    config = write_config(tmp_path / 'config.py', tmp_path)
    args = Namespace(config=str(config), work_dir=None, cfg_options={option: 1}, launcher='none')
    with pytest.raises(ValueError) as error:
        load_config(args)
    assert str(error.value).startswith(f'--cfg-options {option}: {told}')


def test_options_that_something_reads():
    config = Config(dict(my_setting=1))
    check_options(config, ['my_setting', 'model_wrapper_cfg.type', 'compile', 'randomness.seed', 'resume'])


def test_keys_that_are_nearly_one_that_is_read():
    config = Config(dict(optim_wraper=dict(), custom_hook=[], variant={}, train_pipeline=[], data_root='', base_lr=1))
    assert [(line.split("'")[-2], line.split()[-1]) for line in misspelt_keys(config)] == [
        ('optim_wraper', 'optim_wrapper?'),
        ('custom_hook', 'custom_hooks?'),
        ('variant', 'variants?'),
    ]


def test_no_config_here_has_such_a_key():
    paths = [path for path in (REPO / 'configs').rglob('*.py') if '_base_' not in path.parts]
    assert len(paths) > 50
    assert not {str(path): found for path in paths if (found := misspelt_keys(_keys(path)))}


def _keys(path: Path) -> Config:
    """The names that a config gives at its top level, without those of its bases."""
    names = (line.split(' = ')[0] for line in path.read_text().splitlines() if ' = ' in line and line[0].isalpha())
    return Config(dict.fromkeys(names, 0))


def test_custom_keys_that_match_nothing():
    keys = {'bloks': {}, 'blocks.0': {}, '.cls_token': {}, 'attn': {}}
    assert misspelt_settings(dict(paramwise_cfg=dict(custom_keys=keys)), tiny()) == [
        "optim_wrapper.paramwise_cfg.custom_keys: 'bloks' is in no parameter's name; did you mean blocks?"
    ]
    assert misspelt_settings(dict(paramwise_cfg=None), tiny()) == []


@pytest.mark.parametrize(
    ('setting', 'way'),
    [('activation_checkpointing', r'set model\.backbone\.with_cp=True'), ('efficient_conv_bn_eval', 'leave it out')],
)
def test_what_a_prompted_backbone_cannot_follow(setting, way):
    for parts in ('backbone', ['head', 'backbone.net']):
        with pytest.raises(ValueError, match=rf'^{setting}=\[.*{way}'):
            check_unserved(Config({setting: parts}))
    check_unserved(Config({setting: ['head']}))


def test_a_runner_of_another_type(tmp_path):
    with pytest.raises(ValueError, match=r"runner_type='FlexibleRunner': .* leave runner_type out"):
        make_runner(Config(tiny_config(tmp_path, runner_type='FlexibleRunner')))


def test_features_of_the_command_line_take_the_place_of_those_of_the_config():
    config = Config(dict(custom_hooks=[dict(type='EMAHook'), dict(type='vptx.FeatureCacheHook', folder='a')]))
    keep_features(config, 'b', required=False)
    assert config.custom_hooks == [
        dict(type='EMAHook'),
        dict(type='FeatureCacheHook', folder='b', required=False),
    ]


def test_they_are_told_in_a_run(tmp_path):
    paramwise = dict(custom_keys={'promter': dict(lr_mult=10)})
    optim = dict(optimizer=dict(type='SGD', lr=0.1), paramwise_cfg=paramwise)
    run = runner(tmp_path, optim_wrapper=optim, custom_hok=[], **{'train_cfg.max_epochs': 1})
    run.train()
    text = (tmp_path / run.timestamp / f'{run.timestamp}.log').read_text()
    assert text.count("the config's key 'custom_hok' is not read: did you mean custom_hooks?") == 1
    assert text.count("custom_keys: 'promter' is in no parameter's name; did you mean prompter?") == 1
