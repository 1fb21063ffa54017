"""Every Python block of README and docs is run, in order, page by page, in a folder that looks like the repository.

So is the notebook. A block whose first line is ``# path/to/file.py`` is written to that file instead; if it is a
config, its model is built and prompted. So a page shows files, and what is done with them, just as a reader would type
them. A number of trainable parameters that stands in a comment is the one that is printed.
"""

import argparse
import inspect
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

import vptx
from vptx.configs import load_config
from vptx.registry import MODELS
from vptx.shipped import find_config
from vptx_cli import COMMANDS, command_parser
from vptx_cli.arguments import add_common_arguments

ROOT = Path(__file__).parent.parent
DOCS = ROOT / 'docs'
PAGES = [*sorted(ROOT.glob('*.md')), *sorted(DOCS.rglob('*.md')), *sorted(DOCS.rglob('*.ipynb'))]
BLOCK = re.compile(r'^```python\n(.*?)^```$', re.DOTALL | re.MULTILINE)
FILE = re.compile(r'# (\S+\.py)\n')
# Loads the file of a config and builds what it describes; a network whose weights are not in the repository, narrow.
BUILD = """
from pathlib import Path

import vptx
from mmengine.config import Config

config = Config.fromfile({path!r})
net = config.model.backbone.net
if not Path(net.get('weights') or '').is_file():
    net.update(weights=None, **{narrow!r}.get(net.type, {{}}))
vptx.init_model(config)
"""
# The folder of our own tests of data sets is no library of that name, which transformers would use.
WITHOUT_TESTS = "import sys\nsys.path[:] = [path for path in sys.path if not path.endswith('tests')]\n"
# Of a net; others than vision transformers stay as wide as they are.
NARROW = dict(TimmViT=dict(embed_dim=12, num_heads=3))


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def cells(page: Path, kind: str) -> list[str]:
    """Of a notebook."""
    return [''.join(cell['source']) for cell in json.loads(page.read_text())['cells'] if cell['cell_type'] == kind]


def text_of(page: Path) -> str:
    """What a page says, in Markdown."""
    return '\n\n'.join(cells(page, 'markdown')) if page.suffix == '.ipynb' else page.read_text()


def blocks(page: Path) -> list[str]:
    return cells(page, 'code') if page.suffix == '.ipynb' else BLOCK.findall(page.read_text())


def anchors(page: Path) -> set[str]:
    """Of the headings of a page, as GitHub and MkDocs name them."""
    prose = re.sub(r'^```.*?^```$', '', text_of(page), flags=re.DOTALL | re.MULTILINE)
    return {
        re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')
        for heading in re.findall(r'^#+ (.+)$', prose, re.MULTILINE)
    }


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_links_of_a_page_lead_somewhere(page):
    """Pages of docs/ link to each other alone, for MkDocs finds nothing else; the others to any file here."""
    home = DOCS if page.is_relative_to(DOCS) else ROOT
    links = [link for link in re.findall(r'\]\(([^)\s]+)\)', text_of(page)) if '://' not in link]
    broken = []
    for link in links:
        path, _, anchor = link.partition('#')
        target = (page.parent / path).resolve() if path else page
        if not target.is_relative_to(home) or not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize('page', [page for page in PAGES if blocks(page)], ids=name_of)
def test_python_blocks_run(page, tmp_path, zygote):
    if 'from transformers' in page.read_text():
        pytest.importorskip('transformers', reason='transformers 5 needs Python 3.11')
    shutil.copytree(ROOT / 'configs', tmp_path / 'configs')
    (tmp_path / 'weights').symlink_to(ROOT / 'weights')
    script = [WITHOUT_TESTS]
    for code in blocks(page):
        name = FILE.match(code)
        if name is None:
            script.append(code)
            continue
        path = tmp_path / name[1]
        path.write_text(code)
        if 'model = dict(' in code or '_base_ = ' in code:
            script.append(BUILD.format(path=name[1], narrow=NARROW))
    (tmp_path / 'page.py').write_text('\n'.join(script))
    status, output = zygote.script(tmp_path / 'page.py', log=tmp_path / 'log')
    assert status == 0, output[-3000:]
    for code in blocks(page):
        for stated in re.findall(r'print_trainable_parameters\(.*\)  # (trainable params: .*)$', code, re.MULTILINE):
            printed = re.escape(stated.removesuffix(' || ...'))
            assert re.search(rf'{printed}( |$)', output, re.MULTILINE), re.findall('trainable params.*', output)


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_commands_name_files_that_are_there(page):
    """Tools and configs in the shell lines of a page, but for those that the page itself writes."""
    text = text_of(page)
    written = FILE.findall(text)
    named = re.findall(r'\b(?:tools|configs)/[\w./]+\.py\b', text)
    assert not [name for name in named if name not in written and not (ROOT / name).is_file()]


def test_sections_that_code_names_are_there():
    """docs/page.md#section, in docstrings and headers of configs."""
    code = [path for place in ('vptx', 'vptx_cli', 'tools', 'configs') for path in sorted((ROOT / place).rglob('*.py'))]
    named = {found for path in code for found in re.findall(r'\bdocs/([\w/]+\.md)#([\w-]+)', path.read_text())}
    assert named and not [(page, anchor) for page, anchor in named if anchor not in anchors(DOCS / page)]


@pytest.mark.parametrize('name', vptx.__all__)
def test_the_reference_says_what_a_function_takes_and_gives(name):
    """In sentences: a capital letter begins, and a full stop ends each."""
    function = getattr(vptx, name)
    text, facts = inspect.getdoc(function), inspect.signature(function)
    said = {found[0]: found[1] for found in re.findall(r'^    (\w+): (.*(?:\n     .*)*)', text, re.MULTILINE)}
    assert {*facts.parameters} <= {*said}
    assert not [entry for entry in said.values() if not re.match(r'[A-Z`]', entry) or not entry.endswith('.')]
    assert ('\nReturns:\n' in text) == (facts.return_annotation not in (None, 'None'))


def commands(page: Path, tool: str) -> list[str]:
    """The arguments with which a page runs a tool, each on one line."""
    called = rf'^(?:python tools/{tool.replace("-", "_")}\.py|vptx {tool})(?: (.*))?$'
    return re.findall(called, text_of(page).replace('\\\n', ' '), re.MULTILINE)


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_commands_parse(page, monkeypatch):
    """As a shell would hand them over; and a config by its name is one that comes with vptx."""
    monkeypatch.chdir(ROOT)
    for tool in COMMANDS:
        for command in commands(page, tool):
            line = re.sub(r'^|\s#\s.*|[<>].*', '', command)
            words = subprocess.run(['bash', '-c', f'printf "%s\\n" {line}'], capture_output=True, text=True, check=True)
            try:
                args = command_parser(tool).parse_args([word for word in words.stdout.splitlines() if word])
            except SystemExit as end:
                if end.code:
                    pytest.fail(f'{tool} {command}')
                continue  # --help
            for config in [getattr(args, 'config', None), *getattr(args, 'configs', [])]:
                if config and '/' in config and not config.endswith('.py'):
                    find_config(config)


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_what_a_page_installs_and_makes_is_there(page):
    text = text_of(page)
    extras = re.findall(r"^    '(\w+)': ", (ROOT / 'setup.py').read_text(), re.MULTILINE)
    asked = {extra for found in re.findall(r'(?:vptx|\.)\[([\w,]+)\]', text) for extra in found.split(',')}
    assert asked <= set(extras)
    targets = re.search(r'^\.PHONY: (.*)$', (ROOT / 'Makefile').read_text(), re.MULTILINE)[1].split()
    assert set(re.findall(r'(?:^|`)make ([a-z-]+)', text, re.MULTILINE)) <= set(targets)


# But for configs that a page writes itself: test_python_blocks_run builds them.
TRAIN = [
    (name_of(page), command)
    for page in PAGES
    for command in commands(page, 'train')
    if command.split()[0] not in FILE.findall(page.read_text())
]


@pytest.mark.parametrize('page, command', TRAIN)
def test_training_commands_describe_a_model(page, command, monkeypatch):
    """As far as possible without data and weights: the config is composed, its model built and prompted."""
    monkeypatch.chdir(ROOT)
    parser = argparse.ArgumentParser()
    add_common_arguments(parser)
    for flag in ('--resume', '--new-settings'):  # of runs that have begun
        parser.add_argument(flag, action='store_true')
    args = parser.parse_args(shlex.split(command, comments=True))
    args.resume = None
    config = load_config(args)
    if 'backbone' not in config.model:
        MODELS.build(config.model)
        return
    net = config.model.backbone.net
    if not Path(net.get('weights') or '').is_file():
        net.update(weights=None, **NARROW.get(net.type, {}))
    vptx.init_model(config)
