"""Initial prompts: ``init=`` of a prompter, an array or a prompt file."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from networks import tiny
from runs import hook, runner

import vptx

from .battery import Kind
from .prompt_files import state_of
from .spoils import ARRAYS, BYTES, NUMBERS, PICKLES, SAFETENSORS, change, each, put

PROMPTER = dict(type='DeepPrompter', num_tokens=3)


def attached(path: Path, work: Path) -> Any:
    return state_of(vptx.attach(tiny(), dict(PROMPTER, init=str(path))).prompter)


def run(path: Path, work: Path) -> Any:
    prompter = dict(PROMPTER, init=str(path))
    made = runner(work, hooks=[hook(prompter)], **{'model.backbone.net.depth': 3, 'train_cfg.max_epochs': 1})
    made.train()
    return state_of(made.model)


DOORS = {'attach': attached, 'a run': run}


def write_array(folder: Path) -> Path:
    path = folder / 'prompts.npy'
    np.save(path, np.random.default_rng(0).normal(size=(3, 3, 32)).astype(np.float32))
    return path


def write_prompts(folder: Path) -> Path:
    path = folder / 'prompts.safetensors'
    torch.manual_seed(0)
    vptx.save_prompt(vptx.attach(tiny(), PROMPTER), path)
    return path


def array(make: Any) -> Any:
    def edit(path: Path, bait: Any) -> None:
        np.save(path, make(torch.from_numpy(np.load(path))).numpy())

    return edit


NUMPY = Kind(
    'init .npy',
    write_array,
    {**BYTES, **PICKLES, **ARRAYS, **{f'an array: {what}': array(make) for what, make in NUMBERS.items()}},
    DOORS,
)

ROWS = 'state_dict/prompter.embedding.rows.0'
SAFE = Kind(
    'init .safetensors',
    write_prompts,
    {
        **BYTES,
        **PICKLES,
        **SAFETENSORS,
        **each('prompts', ROWS, NUMBERS),
        **each(
            'names of the prompts',
            'meta/vptx/prompts',
            {
                'None': None,
                'a number': 3,
                'a word': 'rows',
                'others': ['a', 'b', 'c'],
                'numbers': [1, 2, 3],
                'none': [],
            },
        ),
        'no facts': change(lambda found: found['meta'].clear()),
        'facts that are a list': put('meta/vptx', [1]),
        'no tensors': change(lambda found: found['state_dict'].clear()),
    },
    DOORS,
)
