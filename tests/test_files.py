import errno
import os
import pickle
import signal
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
import torch
from runs import children
from safetensors.torch import save_file

from vptx.files import (
    Occupied,
    alone,
    loads_again,
    read_array,
    read_arrays,
    read_json,
    read_safetensors,
    safe_load,
    write_whole,
)

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


def test_a_file_that_this_user_may_not_read_is_told_from_a_damaged_one(saved, monkeypatch):
    def closed(*_, **__):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr('pathlib.Path.open', closed)  # root reads whatever it likes
    with pytest.raises(PermissionError, match=rf'^{saved} cannot be read: this user has no permission to'):
        safe_load(saved)


@pytest.mark.parametrize(
    'error',
    [
        torch.OutOfMemoryError('CUDA out of memory'),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_too_little_memory_is_told_from_damage(saved, monkeypatch, error):
    def full(*_, **__):
        raise error

    monkeypatch.setattr(torch, 'load', full)
    with pytest.raises(MemoryError, match=rf'^{saved} cannot be read: there is not enough memory'):
        safe_load(saved)


def test_an_older_torch_loads_no_pickle(saved, monkeypatch):
    monkeypatch.setattr(torch, '__version__', torch.torch_version.TorchVersion('2.9.1'))
    with pytest.raises(ValueError, match=rf'^{saved} is refused: PyTorch 2\.9\.1 .* install torch>=2\.10'):
        safe_load(saved)


@pytest.mark.parametrize('content', [b'', bytes(1000), b'hello', pickle.dumps({'a': 1}), b'PK\x03\x04' + bytes(30)])
def test_nobody_is_advised_to_load_it_all_the_same(tmp_path, content):
    (tmp_path / 'a.pth').write_bytes(content)
    with pytest.raises(ValueError, match=r'^\S+a\.pth cannot be read') as error:
        safe_load(tmp_path / 'a.pth')
    assert 'weights_only' not in str(error.value)


def test_arrays_that_claim_more_than_they_hold(tmp_path):
    for shape in ((2**40,), (2**62, 2**62)):
        with (tmp_path / 'a.npy').open('wb') as file:
            np.lib.format.write_array_header_1_0(file, dict(descr='<f4', fortran_order=False, shape=shape))
            file.write(bytes(100))
        with ZipFile(tmp_path / 'a.npz', 'w') as archive:
            archive.write(tmp_path / 'a.npy', 'w.npy')
        with pytest.raises(ValueError, match=r'^\S+a\.npy cannot be read'):
            read_array(tmp_path / 'a.npy')
        with pytest.raises(ValueError, match=r'^\S+a\.npz cannot be read'):
            read_arrays(tmp_path / 'a.npz')


def test_a_zip_bomb(tmp_path):
    with ZipFile(tmp_path / 'a.npz', 'w', ZIP_DEFLATED) as archive, archive.open('w.npy', 'w') as entry:
        np.lib.format.write_array_header_1_0(entry, dict(descr='|u1', fortran_order=False, shape=(2**29,)))
        for _ in range(2**29 // 2**24):
            entry.write(bytes(2**24))
    with pytest.raises(ValueError, match=r'^\S+a\.npz is refused: its [\d,]+ bytes claim to be 536,'):
        read_arrays(tmp_path / 'a.npz')


def test_an_encrypted_archive(saved):
    content = bytearray(saved.read_bytes())
    at = content.find(b'PK\x01\x02')  # an entry of the directory, whose flags say so
    content[at + 8] |= 1
    saved.write_bytes(content)
    with pytest.raises(ValueError, match=r'^\S+saved\.pth cannot be read: it is encrypted'):
        safe_load(saved)


@pytest.mark.parametrize('text', ['[' * 100_000, '{"a":', '\ud800'.encode('utf-16', 'surrogatepass')])
def test_json_that_is_none(tmp_path, text):
    (tmp_path / 'a.json').write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=r'^\S+a\.json cannot be read'):
        read_json(tmp_path / 'a.json')


def test_deep_json_in_a_safetensors_file(tmp_path):
    save_file(dict(a=torch.ones(1)), tmp_path / 'a.safetensors', {'vptx': '[' * 100_000})
    with pytest.raises(ValueError, match=r'^\S+a\.safetensors cannot be read: it is nested too deeply'):
        read_safetensors(tmp_path / 'a.safetensors')


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
