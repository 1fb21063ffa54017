"""What README promises of `make quickstart`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_quickstart(tmp_path):
    for name in ('configs', 'weights', 'tools'):
        (tmp_path / name).symlink_to(ROOT / name)
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run([sys.executable, 'tools/quickstart.py'], cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    out = tmp_path / 'work_dirs' / 'quickstart'
    linear, deep = (
        json.loads((out / name / 'test.json').read_text())['accuracy/top1']
        for name in ('digits_linear', 'digits_vpt_deep')
    )
    assert deep > linear + 5
    assert (out / 'digits_vpt_deep' / 'prompt.safetensors').stat().st_size < 100_000
    assert Image.open(out / 'predictions.png').size[0] > 500
    assert len((out / 'predictions.csv').read_text().splitlines()) == 1 + 30
