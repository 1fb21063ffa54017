import errno
import os
import signal
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import children

from vptx.files import Occupied, alone, loads_again, safe_load, write_whole

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


def test_of_two_that_write_one_file_each_writes_all_of_it(tmp_path):
    path, contents = tmp_path / 'file', (b'a' * 200_000, b'b' * 300_000)
    path.write_bytes(contents[0])

    def write(content):
        for _ in range(100):
            write_whole(path, content)

    def read():
        for _ in range(300):
            assert path.read_bytes() in contents

    assert children(partial(write, contents[0]), partial(write, contents[1]), read) == [0, 0, 0]
    assert [p.name for p in tmp_path.iterdir()] == ['file']


def test_a_disk_that_is_full_is_named_with_the_file(tmp_path, monkeypatch):
    path = tmp_path / 'file'
    path.write_bytes(b'old')

    def full(number):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr('os.fsync', full)
    with pytest.raises(OSError, match=rf"No space left on device, not written: '{path}'"):
        write_whole(path, b'new')
    assert [p.name for p in tmp_path.iterdir()] == ['file'] and path.read_bytes() == b'old'


def test_the_mode_of_a_file_is_that_of_any_other(tmp_path):
    write_whole(tmp_path / 'ours', b'')
    (tmp_path / 'other').touch()
    assert (tmp_path / 'ours').stat().st_mode == (tmp_path / 'other').stat().st_mode


def test_a_folder_is_occupied_by_one_process(tmp_path):
    held = [Occupied(tmp_path), Occupied(tmp_path)]
    refused = partial(pytest.raises, RuntimeError, match=rf'another run \(process {os.getpid()} on .*\) is writing to')

    def another():
        with refused():
            Occupied(tmp_path)

    held.pop()
    assert children(another) == [0]
    del held
    assert children(partial(Occupied, tmp_path)) == [0]


def test_a_killed_process_occupies_nothing(tmp_path):
    def dies():
        held = Occupied(tmp_path)
        if os.fork() == 0:  # one that it started, a worker of its loader, lives on for a while
            time.sleep(3)
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)
        del held

    assert children(dies) == [-signal.SIGKILL]
    Occupied(tmp_path)


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def missing(*_):
        raise OSError(errno.ENOSYS, 'Function not implemented')

    monkeypatch.setattr('fcntl.flock', missing)
    monkeypatch.setattr('fcntl.lockf', missing)
    with pytest.warns(UserWarning, match=rf'file system of {tmp_path} has no locks \(Function not implemented\)'):
        Occupied(tmp_path)
    done = []
    with pytest.warns(UserWarning, match='has no locks'), alone(tmp_path):
        done.append(True)
    assert done


@pytest.mark.parametrize(
    'value',
    [np.str_('a'), np.float16(1), np.int16(1), np.array(['a', 'b']), np.zeros(3, np.uint16), np.bool_(True)],
    ids=repr,
)
def test_numbers_and_strings_of_numpy(value):
    assert loads_again([value])


@pytest.mark.parametrize(
    'value', [range(3), Path('a'), np.array([1, 'a'], object), lambda: 1], ids=['range', 'path', 'objects', 'function']
)
def test_other_things_do_not_come_back(value):
    assert not loads_again([value])
