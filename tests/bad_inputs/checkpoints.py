"""Checkpoints of a run: ``.pth``, to go on from, to start from, to test."""

import shutil
from pathlib import Path
from typing import Any

import torch

from .battery import Kind
from .prompt_files import FACTS, FETCHED, initialised, loaded, tensors, tested, trained, training
from .spoils import BYTES, NO_FILES, NO_NUMBER, OBJECTS, PICKLES, baited, change, drop, each, put


def good(folder: Path) -> Path:
    """Of the first epoch of three."""
    return Path(shutil.copy(trained() / 'epoch_1.pth', folder / 'epoch_1.pth'))


def resumed_by_config(path: Path, work: Path) -> Any:
    return training(None, work, resume=True, load_from=str(path))


def resumed_by_pointer(path: Path, work: Path) -> Any:
    work.mkdir()
    (work / 'last_checkpoint').write_text(str(path))
    return training('auto', work)


def resumed_by_name(path: Path, work: Path) -> Any:
    """The newest one in the folder of a run."""
    work.mkdir()
    path.rename(work / 'epoch_1.pth')
    return training('auto', work)


RESUMES = {
    'train.py --resume FILE': training,
    'resume=True, load_from': resumed_by_config,
    'last_checkpoint': resumed_by_pointer,
    'newest in the folder': resumed_by_name,
}
OTHERS = {'train.py load_from': loaded, 'test.py': tested, 'init_model': initialised}


#: The whole.
WHOLE = {
    'a list': change(lambda found: [found]),
    'a tensor': change(lambda found: torch.zeros(3)),
    'a number': change(lambda found: 3),
    'an empty dictionary': change(lambda found: {}),
    'no state_dict': drop('state_dict'),
    **each('state_dict', 'state_dict', {'None': None, 'a list': [1], 'a tensor': torch.zeros(3)}),
    'no meta': drop('meta'),
    **each('meta', 'meta', {'None': None, 'a list': [1], 'a word': 'epoch 3'}),
    **each('a tensor is', 'state_dict/head.fc.weight', OBJECTS),
    'keys that are numbers': put('state_dict', lambda state: dict(enumerate(state.values()))),
}

GROUP, STATE = 'optimizer/param_groups/0', 'optimizer/state/0'

#: Where the run was, which only those who go on read.
PLACE = {
    'no epoch': drop('meta/epoch'),
    **each('epoch', 'meta/epoch', NO_NUMBER | {'10**9': 10**9, 'a half': 0.5, 'another than that of iter': 0}),
    'no iter': drop('meta/iter'),
    **each('iter', 'meta/iter', NO_NUMBER | {'10**9': 10**9, 'a half': 0.5}),
    **each('seed', 'meta/seed', {'a word': 'two', 'a list': [1], 'negative': -5}),
    'no optimizer': drop('optimizer'),
    **each('optimizer', 'optimizer', {'None': None, 'a list': [1], 'empty': {}, 'a word': 'AdamW'}),
    'an optimizer without a state': put('optimizer/state', {}),
    'an optimizer without groups': put('optimizer/param_groups', []),
    'an optimizer of more groups': put('optimizer/param_groups', lambda groups: groups * 2),
    'an optimizer of fewer parameters': put(f'{GROUP}/params', lambda own: own[:-1]),
    'an optimizer of another kind': put(GROUP, lambda group: dict(lr=0.1, momentum=0.9, params=group['params'])),
    **each('rate', f'{GROUP}/lr', {'a word': 'fast', 'NaN': float('nan'), 'negative': -1.0, 'None': None}),
    **each('moments', f'{STATE}/exp_avg', {'NaN': lambda tensor: tensor * float('nan'), 'None': None}),
    'moments of another shape': put(f'{STATE}/exp_avg', torch.zeros(5)),
    'steps that are a word': put(f'{STATE}/step', 'three'),
    **each('schedules', 'param_schedulers', {'None': None, 'of another number': [], 'a word': 'cosine', 'empty': [{}]}),
    **each('step of the schedule', 'param_schedulers/0/last_step', NO_NUMBER),
    'no message_hub': drop('message_hub'),
    **each('message_hub', 'message_hub', {'None': None, 'a list': [1], 'empty': {}}),
    **each('log_scalars', 'message_hub/log_scalars', {'None': None, 'a list': [1], 'numbers': {'train/loss': 3}}),
    **each('runtime_info', 'message_hub/runtime_info', {'None': None, 'a list': [1]}),
    'best score: a word': put('message_hub/runtime_info/best_score', 'good'),
}

#: What a file tells a program to do.
ORDERS = {
    'a config that runs code': baited('meta/config', lambda bait: f'open({str(bait.canary)!r}, "w")'),
    'a cfg that runs code': baited('meta/cfg', lambda bait: f'open({str(bait.canary)!r}, "w")'),
    'a best checkpoint elsewhere': baited(
        'message_hub/runtime_info', lambda bait: dict(best_ckpt=str(bait.treasure), best_score=-1.0)
    ),
    'the last checkpoint elsewhere': baited(
        'message_hub/runtime_info', lambda bait: dict(last_ckpt=str(bait.treasure / 'epoch_7.pth'))
    ),
    'kept checkpoints elsewhere': baited(
        'message_hub/runtime_info', lambda bait: dict(keep_ckpt_ids=['7/../../bait/treasure/epoch_7', 5, 6])
    ),
}

KIND = Kind(
    'checkpoint',
    good,
    {**BYTES, **PICKLES, **WHOLE, **FACTS, **tensors('backbone.', ''), **FETCHED, **PLACE, **ORDERS},
    {**RESUMES, **OTHERS},
    harmless=(
        *FETCHED,
        *ORDERS,
        'an optimizer without a state',
        'log_scalars: numbers',
        *((name, 'last_checkpoint') for name in NO_FILES),  # the run begins, and says so
    ),
    # What is no file is no checkpoint of a run, which then begins.
    only={
        **dict.fromkeys([*PLACE, *ORDERS], (*RESUMES,)),
        **dict.fromkeys(NO_FILES, (*[door for door in RESUMES if door != 'newest in the folder'], *OTHERS)),
    },
)
