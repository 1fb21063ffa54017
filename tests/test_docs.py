"""Every Python block of README and docs is run, in order, page by page, in a folder that looks like the repository.

A block whose first line is ``# path/to/file.py`` is written to that file instead; if it is a config, its model is built
and prompted. So a page shows files, and what is done with them, just as a reader would type them.
"""

import argparse
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

import vptx
from vptx.configs import load_config
from vptx_cli.arguments import add_common_arguments

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob('*.md')), *sorted(ROOT.glob('docs/*.md'))]
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


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text())


def anchors(page: Path) -> set[str]:
    """Of the headings of a page, as GitHub and MkDocs name them."""
    prose = re.sub(r'^```.*?^```$', '', page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return {
        re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')
        for heading in re.findall(r'^#+ (.+)$', prose, re.MULTILINE)
    }


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_somewhere(page):
    """Pages of docs/ link to each other alone, for MkDocs finds nothing else; the others to any file here."""
    home = page.parent
    links = [link for link in re.findall(r'\]\(([^)\s]+)\)', page.read_text()) if '://' not in link]
    broken = []
    for link in links:
        path, _, anchor = link.partition('#')
        target = (page.parent / path).resolve() if path else page
        if not target.is_relative_to(home) or not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize('page', [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
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


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    targets = re.findall(r'\]\(([^)#]+?)(?:#[^)]*)?\)', page.read_text())
    missing = [target for target in targets if '://' not in target and not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_commands_name_files_that_are_there(page):
    """Tools and configs in the shell lines of a page, but for those that the page itself writes."""
    text = page.read_text()
    written = FILE.findall(text)
    named = re.findall(r'\b(?:tools|configs)/[\w./]+\.py\b', text)
    assert not [name for name in named if name not in written and not (ROOT / name).is_file()]


def commands(page: Path, tool: str) -> list[str]:
    """The arguments with which a page runs a tool, each on one line."""
    called = rf'^(?:python tools/{tool}\.py|vptx {tool}) (.*)$'
    return re.findall(called, page.read_text().replace('\\\n', ' '), re.MULTILINE)


# But for configs that a page writes itself: test_python_blocks_run builds them.
TRAIN = [
    (page.name, command)
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
    net = config.model.backbone.net
    if not Path(net.get('weights') or '').is_file():
        net.update(weights=None, **NARROW.get(net.type, {}))
    vptx.init_model(config)


@pytest.mark.parametrize('page', [page for page in PAGES if commands(page, 'compare')], ids=lambda page: page.name)
def test_comparisons_name_configs_and_nets_that_are_there(page):
    for command in commands(page, 'compare'):
        listed = subprocess.run(['bash', '-c', f'printf "%s\\n" {command}'], capture_output=True, text=True, cwd=ROOT)
        words = listed.stdout.split()
        for word in words:
            assert not word.startswith('configs/') or (ROOT / word).is_file(), word
        nets = words[words.index('--nets') + 1 :] if '--nets' in words else []
        for net in nets[: next((i for i, word in enumerate(nets) if word.startswith('--')), None)]:
            assert (ROOT / 'configs/_base_/nets' / f'{net}.py').is_file(), net
