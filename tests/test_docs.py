"""Every Python block of README and docs is run, in order, page by page, in a folder that looks like the repository.

A block whose first line is ``# path/to/file.py`` is written to that file instead; if it is a config, its model is built
and prompted. So a page shows files, and what is done with them, just as a reader would type them.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob('*.md')), *sorted(ROOT.glob('docs/*.md'))]
BLOCK = re.compile(r'^```python\n(.*?)^```$', re.DOTALL | re.MULTILINE)
FILE = re.compile(r'# (\S+\.py)\n')
# Loads the file of a config and builds what it describes; a network whose weights are not in the repository, without.
BUILD = """
import vptx
from mmengine.config import Config

config = Config.fromfile({path!r})
net = config.model.backbone.net
if net.get('weights', '').startswith('timm://'):
    net.update(weights=None, depth=1)
vptx.init_model(config)
"""


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text())


@pytest.mark.parametrize('page', [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_python_blocks_run(page, tmp_path):
    shutil.copytree(ROOT / 'configs', tmp_path / 'configs')
    (tmp_path / 'weights').symlink_to(ROOT / 'weights')
    script = []
    for code in blocks(page):
        name = FILE.match(code)
        if name is None:
            script.append(code)
            continue
        path = tmp_path / name[1]
        path.write_text(code)
        if 'model = dict(' in code or '_base_ = ' in code:
            script.append(BUILD.format(path=name[1]))
    (tmp_path / 'page.py').write_text('\n'.join(script))
    environment = {**os.environ, 'PYTHONPATH': f'{tmp_path}:{ROOT}', 'HF_HUB_OFFLINE': '1', 'OMP_NUM_THREADS': '1'}
    done = subprocess.run([sys.executable, 'page.py'], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


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
