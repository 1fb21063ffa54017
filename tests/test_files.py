import os
import signal
from contextlib import suppress

import numpy as np
import pytest
import torch

from vptx.files import Occupied, safe_load, write_whole

CONTENT = dict(
    state_dict={'a.b': torch.arange(300.0), 'half': torch.ones(3, dtype=torch.bfloat16)},
    meta=dict(text='words', number=3, pair=(1, 2.5), nothing=None, array=np.arange(3), scalar=np.float64(2)),
)


@pytest.fixture
def saved(tmp_path):
    torch.save(CONTENT, tmp_path / 'saved.pth')
    return tmp_path / 'saved.pth'


def test_what_was_saved_comes_back(saved):
    found = safe_load(saved)
    assert torch.equal(found['state_dict']['a.b'], CONTENT['state_dict']['a.b'])
    assert found['state_dict']['half'].dtype == torch.bfloat16
    assert found['meta']['array'].tolist() == [0, 1, 2]
    assert {k: v for k, v in found['meta'].items() if k != 'array'} == {
        k: v for k, v in CONTENT['meta'].items() if k != 'array'
    }


def test_a_home_directory_is_understood(saved, monkeypatch):
    monkeypatch.setenv('HOME', str(saved.parent))
    assert safe_load('~/saved.pth').keys() == CONTENT.keys()


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf'there is no checkpoint {tmp_path}/none\.pth'):
        safe_load(tmp_path / 'none.pth')


@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
def test_truncated_anywhere(tmp_path, legacy):
    path = tmp_path / 'cut.pth'
    torch.save(CONTENT, path, _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    for length in np.linspace(0, len(whole) - 1, 40).astype(int):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r'cut\.pth (cannot be read|is refused)'):
            safe_load(path)


@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
def test_bytes_changed_anywhere_give_a_value_error_or_nothing_worse(tmp_path, legacy):
    path = tmp_path / 'changed.pth'
    torch.save(CONTENT, path, _use_new_zipfile_serialization=not legacy)
    whole, rng, refused = np.frombuffer(path.read_bytes(), np.uint8), np.random.default_rng(0), 0
    for _ in range(150):
        changed = whole.copy()
        changed[rng.integers(0, len(whole), 8)] = rng.integers(0, 256, 8)
        path.write_bytes(changed.tobytes())
        with suppress(ValueError):
            safe_load(path)
            refused -= 1
        refused += 1
    assert refused > 20


@pytest.mark.parametrize('content', [b'', b'not a checkpoint', b'\x80\x02.', bytes(1000), b'PK\x03\x04' + bytes(99)])
def test_not_ours(tmp_path, content):
    (tmp_path / 'other.pth').write_bytes(content)
    with pytest.raises(ValueError, match=r'other\.pth (cannot be read|is refused)'):
        safe_load(tmp_path / 'other.pth')


def test_a_refusal_says_what_was_found(tmp_path):
    torch.save(dict(a=os.system), tmp_path / 'evil.pth')
    with pytest.raises(ValueError, match=r'could run code \(.*system'):
        safe_load(tmp_path / 'evil.pth')


def test_write_whole_replaces(tmp_path):
    path = tmp_path / 'new folder' / 'file'
    write_whole(path, b'one')
    write_whole(path, b'two')
    assert path.read_bytes() == b'two'
    assert [p.name for p in path.parent.iterdir()] == ['file']


def test_a_process_killed_while_it_writes_leaves_the_old_file(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(b'old')
    child = os.fork()
    if child == 0:
        os.fsync = lambda number: os.kill(os.getpid(), signal.SIGKILL)
        write_whole(path, b'new' * 1000)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert len(list(tmp_path.glob('.file.*.part'))) == 1
    assert path.read_bytes() == b'old'
    write_whole(path, b'newer')  # what the dead process left behind is in nobody's way
    assert path.read_bytes() == b'newer'
    held = Occupied(tmp_path)  # nobody else writes here, so it can go
    assert {p.name for p in tmp_path.iterdir()} == {'file', '.lock'}
    del held
