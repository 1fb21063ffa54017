"""Every shell block of README and docs is run with the package as it is installed, in a folder that is empty but for
``configs``, ``tools`` and ``weights``, as in a checkout, and for the files that the page writes.

What a command needs that is not here, such as a network or hours, is said below, with the reason. Nothing else is left
out: a command without a reason is run, and a reason without a command is an error. A fence without a language is shell,
``text`` is no code, and ``py`` is a fragment of Python that lacks what only a reader has; all other Python is run by
``test_docs.py``.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import environment
from test_command import installed  # noqa: F401  the fixture
from test_docs import FILE, PAGES, name_of
from test_docs import blocks as python_blocks

FENCE = re.compile(r'^```(\w*)\n(.*?)^```$', re.DOTALL | re.MULTILINE)
MINI = r'(?:mini|mini_vtab|mini_pixels|clip|seg)'
INDEX = 'needs a package index, which the workflows have'
WEIGHTS = 'needs weights or data that are downloaded'
HOURS = 'takes hours: its runs and its table are tested in tests/studies'
READER = "needs the reader's own files"
CLUSTER = 'needs a cluster: tests/cluster starts one'
SERVER = 'needs a server that goes on running: tests/serve starts it'
HUB = 'needs a hub: tests/test_hub.py has a stand-in'

#: What is not run, and why: the whole command, without a comment after it.
LEFT_OUT = {
    r"pip install '?vptx\[\w+\]'?": INDEX,
    r'make (quickstart|test|lint|docs|real)|\.ci/run|\.venv/bin/pre-commit install': INDEX,
    r'python tools/(train|experiment|sweep)\.py configs/(cls|vtab|fgvc)/.*': WEIGHTS,
    r'python tools/(test|predict)\.py configs/cls/.*': WEIGHTS,
    r'python tools/(train|test|experiment)\.py configs/(seg/setr_vitl_vpt|real/[\w*{,}]+)\.py.*': WEIGHTS,
    r'python tools/export_backbone\.py work_dirs/clip_mini/.*': HOURS,
    r'python tools/(train\.py configs/pretrain/clip_mini\.py|continual\.py.*)': HOURS,
    rf'python tools/(experiment|sweep)\.py configs/{MINI}/.*': HOURS,
    r'python tools/report\.py work_dirs/.*': HOURS,
    r'mkdir -p \S+ && tar xf docs/.*|python website/method_tables\.py .*': 'needs a checkout: tests/test_site.py',
    r'python tools/(benchmark\.py (--nets swin_\w+ )?--methods .*|check_gpu\.py)': 'takes hours: tests/benchmark',
    r'OMP_NUM_THREADS=1 taskset -c 0 vptx export cls/.*': 'takes an hour: tests/test_cli.py',
    r'vptx benchmark-bank --net vit_base_patch16_224 .*': 'takes hours: tests/benchmark',
    r'vptx train-many mini_vtab/vpt_deep --tasks all': 'takes an hour: tests/studies',
    r'python -m pytest tests/segmentation/test_large_photograph\.py .*': 'is a test of its own',
    r'(vptx|python tools/\w+\.py|python -m torch\S+) .*\b(CONFIG|PROMPT_FILE)\b.*': READER,
    r'vptx (predict|export) my_config\.py .*': READER,
    r'python tools/predict\.py configs/mini_pixels/border\.py .* images/ --show-prompt': READER,
    r'vptx (predict|test|export) mini/digits_vpt_deep hf://.*|hf auth login|vptx push .*': HUB,
    r'(\w+=\S+ )*tools/(slurm|dist)_\w+\.sh .*|mpirun .*|ray (up|exec) .*': CLUSTER,
    r'export VPTX_TOKEN=.*|vptx serve .*|curl .*': SERVER,
}
#: Pages whose commands go on from what another page has trained.
BEFORE = {
    'docs/export.md': ['vptx train mini/digits_vpt_deep'],
    'docs/many_processes.md': ['vptx train mini/digits_vpt_deep'],
}
#: Pages with fragments of Python, and what these lack.
FRAGMENTS = {
    'docs/hub.md': HUB,
    'docs/language.md': 'options that stand for themselves, with the weights of CLIP',
    'docs/migrating/peft.md': 'is run with PEFT',
    'docs/segmentation.md': READER,
}


def commands(page: Path) -> list[str]:
    """Each on one line, without comments."""
    shell = [text for language, text in FENCE.findall(page.read_text()) if not language]
    lines = [line for text in shell for line in text.replace('\\\n', ' ').splitlines()]
    return [found for line in lines if (found := re.sub(r'(^|\s+)#\s.*', '', re.sub(r' {2,}', ' ', line)).strip())]


def reasons(command: str) -> list[str]:
    return [pattern for pattern in LEFT_OUT if re.fullmatch(pattern, command)]


TEXTS = [page for page in PAGES if page.suffix == '.md']
RUN = {page: found for page in TEXTS if (found := [line for line in commands(page) if not reasons(line)])}


def test_what_is_not_run_has_one_reason_and_every_reason_is_of_use():
    used = [reasons(command) for page in TEXTS for command in commands(page)]
    assert {pattern for found in used for pattern in found} == {*LEFT_OUT}
    assert not [found for found in used if len(found) > 1]
    languages = {name_of(page): {language for language, _ in FENCE.findall(page.read_text())} for page in TEXTS}
    assert {*FRAGMENTS} == {page for page, found in languages.items() if 'py' in found}
    assert set.union(*languages.values()) <= {'', 'python', 'py', 'text', 'json', 'yaml'}


def lines(page: Path) -> Iterator[str]:
    yield from BEFORE.get(name_of(page), [])
    yield from RUN[page]


@pytest.mark.slow
@pytest.mark.parametrize('page', RUN, ids=name_of)
def test_shell_blocks_run(page, installed, tmp_path):  # noqa: F811
    (shipped,) = installed.parent.glob('lib/python*/site-packages/vptx/.mim')
    for folder in ('configs', 'tools', 'weights'):
        shutil.copytree(shipped / folder, tmp_path / folder)
    for code in python_blocks(page):
        if name := FILE.match(code):
            (tmp_path / name[1]).parent.mkdir(exist_ok=True)
            (tmp_path / name[1]).write_text(code)
    variables = {name: value for name, value in environment().items() if name != 'PYTHONPATH'}
    variables['PATH'] = os.pathsep.join([str(installed), str(Path(sys.executable).parent), os.environ['PATH']])
    # One shell, as a reader has, where a variable stays; -x writes each command to its errors.
    script = ['bash', '-exc', '\n'.join(lines(page))]
    done = subprocess.run(script, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, f'{done.stdout[-2000:]}\n{done.stderr[-4000:]}'
