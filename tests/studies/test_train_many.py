"""The command that trains many tasks, together or one after the other: the same files either way."""

import pytest
import torch
from safetensors.torch import load_file

from vptx_cli import command_parser

OPTIONS = ['train_cfg.max_epochs=1', 'train_cfg.val_interval=1']
TASKS = ['mini_digits', 'mini_count']


@pytest.mark.slow
def test_tasks_together_and_apart(tmp_path, capsys):
    for place, more in dict(together=[], apart=['--apart']).items():
        given = ['mini_vtab/vpt_deep', '--tasks', *TASKS, '--work-dir', str(tmp_path / place), *more]
        args = command_parser('train-many').parse_args([*given, '--cfg-options', *OPTIONS])
        args.run(args)
        printed = capsys.readouterr().out
        assert '2 tasks in ' in printed and ' s of processor' in printed
        assert all(f'{task}: accuracy/top1' in printed for task in TASKS)
    for task in TASKS:
        together, apart = (
            load_file(tmp_path / place / 'prompts' / f'{task}.safetensors') for place in ('together', 'apart')
        )
        assert together.keys() == apart.keys()
        for name, tensor in apart.items():
            torch.testing.assert_close(together[name], tensor, rtol=1e-3, atol=1e-4, msg=f'{task} {name}')
