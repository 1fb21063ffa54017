"""What the arguments of the tools make of a config."""

import json
import sys
from argparse import ArgumentParser, Namespace

import pytest
import torch
from runs import hook, net, write_config, write_weights

import vptx
from vptx.configs import load_config
from vptx_cli import main
from vptx_cli.arguments import add_config_arguments


def test_resume_begins_where_there_is_no_checkpoint_with_the_weights_of_the_config(tmp_path):
    config = write_config(tmp_path / 'config.py', tmp_path / 'work', load_from='zoo.pth')
    args = Namespace(config=str(config), resume='auto', work_dir=None, cfg_options={}, launcher='none')
    begun = load_config(args)
    assert begun.load_from == 'zoo.pth' and not begun.get('resume')
    (tmp_path / 'work').mkdir()
    torch.save({}, tmp_path / 'work' / 'epoch_2.pth')
    resumed = load_config(args)
    assert resumed.load_from == str(tmp_path / 'work' / 'epoch_2.pth') and resumed.resume
    args.resume = 'other.pth'
    assert load_config(args).load_from == 'other.pth'


def test_new_settings_are_asked_of_the_hook(tmp_path):
    config = write_config(tmp_path / 'config.py', tmp_path / 'work')
    args = Namespace(config=str(config), resume='auto', work_dir=None, cfg_options={}, launcher='none')
    assert 'resume_settings' not in load_config(args).custom_hooks[0]
    args.new_settings = True
    assert load_config(args).custom_hooks[0].resume_settings == 'config'


def parse(*options: str) -> dict:
    parser = ArgumentParser()
    add_config_arguments(parser)
    return parser.parse_args(['config.py', '--cfg-options', *options]).cfg_options


def test_settings_of_the_command_line():
    assert parse('a.b=1', 'c=[1,2]', 'd=x=y', 'e=head.fc{2}') == {'a.b': 1, 'c': [1, 2], 'd': 'x=y', 'e': 'head.fc{2}'}


@pytest.mark.parametrize(
    ('option', 'reason'),
    [
        ("test_evaluator=[dict(type='Accuracy'),dict(type='SingleLabelMetric')]", 'test_evaluator.0.key=value'),
        ('test_evaluator=dict(type=Accuracy)', 'no dict'),
        ('x={a: 1}', 'no dict'),
        ('x=f(1,2)', 'cannot take'),
        ('x=[1,2', 'brackets'),
        ('model.head', 'no key.of.setting=value'),
    ],
)
def test_settings_that_cannot_be_taken_are_a_usage_error(option, reason, capsys):
    with pytest.raises(SystemExit) as error:
        parse(option)
    told = capsys.readouterr().err
    assert error.value.code == 2 and 'cannot take' in told and reason in told and option.partition('=')[0] in told


def test_numbers_of_each_class_as_json(tmp_path, start):
    evaluators = [dict(type='ConfusionMatrix'), dict(type='SingleLabelMetric', average=None)]
    prompt = tmp_path / 'start.safetensors'
    weights = write_weights(tmp_path / 'weights.pth')
    config = write_config(
        tmp_path / 'config.py',
        tmp_path / 'work',
        test_evaluator=evaluators,
        **{'model.backbone.net': net(weights=str(weights))},
    )
    vptx.save_prompt(vptx.init_model(config), prompt, classes=['bright', 'dark', 'striped'])
    out = tmp_path / 'new' / 'metrics.json'
    status, output = start('test', config, prompt, '--out', out, log=tmp_path / 'log')
    assert status == 0, output
    metrics = json.loads(out.read_text())
    matrix = metrics['confusion_matrix/result']
    assert len(matrix) == 3 and sum(map(sum, matrix)) == 12
    assert len(metrics['single-label/recall_classwise']) == 3


def test_settings_of_a_run_are_given_to_the_export_too(tmp_path, start):
    weights = write_weights(tmp_path / 'weights.pth')
    config = write_config(
        tmp_path / 'config.py',
        tmp_path / 'work',
        hooks=[hook(dict(type='BorderPrompter', width=2))],
        **{'model.backbone.net': net(weights=str(weights)), 'model.head.num_classes': 2},
    )
    vptx.save_prompt(vptx.init_model(config), tmp_path / 'p.safetensors')
    config = write_config(
        tmp_path / 'config.py',
        tmp_path / 'work',
        hooks=[hook(dict(type='BorderPrompter', width=2))],
        **{'model.backbone.net': net(weights=str(weights))},
    )
    out = tmp_path / 'border.png'
    options = ('--cfg-options', 'model.head.num_classes=2')
    status, output = start('export_pixels', config, tmp_path / 'p.safetensors', out, *options, log=tmp_path / 'log')
    assert status == 0, output
    assert out.is_file()


@pytest.mark.parametrize(
    ('command', 'more'),
    [
        ('test', ['p.safetensors']),
        ('predict', ['p.safetensors', __file__]),
        ('export', ['p.safetensors', 'model.onnx']),
        ('export-pixels', ['p.safetensors', 'border.png']),
        ('experiment', []),
    ],
)
def test_commands_offer_the_config_of_the_nearest_name(command, more, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['vptx', command, 'mini/digits_vpt_depe', *more])
    says = r'mini/digits_vpt_depe: there is no such file.* near to it are .*mini/digits_vpt_deep'
    with pytest.raises(
        SystemExit,
        match=says,
    ):
        main()


def test_several_exports_and_their_speed(tmp_path, monkeypatch, capsys):
    weights = {'model.backbone.net': net(weights=str(write_weights(tmp_path / 'weights.pth')))}
    config = write_config(tmp_path / 'config.py', tmp_path / 'work', **weights)
    vptx.save_prompt(vptx.init_model(config), tmp_path / 'p.safetensors')
    files = [tmp_path / 'a.pt2', tmp_path / 'b.pt2']
    options = ['--rounds', 2, '--batch', 1, 2, '--compiler', 'none']
    arguments = ['export', config, tmp_path / 'p.safetensors', *files, *options]
    monkeypatch.setattr(sys, 'argv', ['vptx', *map(str, arguments)])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(' |')[0] for line in lines[-4:]] == ['| eager', '| folded', '| a.pt2', '| b.pt2']
    assert '1 image' in lines and '2 images' in lines
    assert all(file.is_file() for file in files)
    monkeypatch.setattr(sys, 'argv', ['vptx', 'export', str(config), 'none', str(tmp_path / 'c.pt2')])
    with pytest.raises(SystemExit, match='would be as they were drawn'):  # without --rounds, which time it all the same
        main()
    assert not (tmp_path / 'c.pt2').exists()


def test_a_model_without_a_file(tmp_path, start):
    """The word none, where nothing trains; where something does, what training has not filled is named."""
    weights = write_weights(tmp_path / 'weights.pth', num_classes=5)
    backbone = {
        'model.backbone.net': net(weights=str(weights), num_classes=5),
        'model.backbone.readout': 'logits',
        'model.head': dict(_delete_=True, type='ClsHead'),
    }
    mapped = dict(type='PromptTuningHook', mapping=dict(type='IndexMapping', num_classes=3), tune=[])
    plain = write_config(tmp_path / 'plain.py', tmp_path / 'work', hooks=[mapped], **backbone)
    out = tmp_path / 'metrics.json'
    status, output = start('test', plain, 'none', '--out', out, log=tmp_path / 'log')
    assert status == 0 and 'accuracy/top1' in json.loads(out.read_text()), output
    prompted = dict(mapped, prompter=dict(type='BorderPrompter', width=2))
    learnt = write_config(tmp_path / 'learnt.py', tmp_path / 'work', hooks=[prompted], **backbone)
    status, output = start('test', learnt, 'none', log=tmp_path / 'log2')
    assert status == 1 and 'would be as they were drawn' in output
