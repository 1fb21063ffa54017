"""What the arguments of the tools make of a config."""

from argparse import Namespace

import torch
from runs import write_config

from vptx.cli import load_config


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
