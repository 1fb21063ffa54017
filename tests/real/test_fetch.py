"""Packages come from the clients of their registries, and only the file that is expected is taken."""

import os
import shutil
import stat

import pytest
from packages import debian, package, wheel

from vptx.real import fetch

FILES = {'pictures/1.png': b'one'}


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """A stand-in for apt-get, which writes the files of a folder; it notes what it was asked."""
    served, tools = tmp_path / 'served', tmp_path / 'tools'
    served.mkdir()
    tools.mkdir()
    script = tools / 'apt-get'
    script.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncp {served}/* . || {{ echo "E: nothing" >&2; exit 100; }}\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv('PATH', str(tools) + os.pathsep + os.environ['PATH'])
    return served


def test_a_package_of_debian_is_fetched_once(apt, tmp_path):
    wanted = package(debian(apt / 'pictures_1_all.deb', FILES))
    for _ in range(2):
        found = fetch(wanted, tmp_path / 'downloads')
        assert found.read_bytes() == (apt / wanted.file).read_bytes()
    assert (tmp_path / 'asked').read_text() == '--quiet download pictures=1\n'
    assert [path.name for path in found.parent.iterdir()] == [wanted.file]


def test_pip_fetches_a_wheel_as_the_user_has_set_it_up(tmp_path, monkeypatch):
    (tmp_path / 'served').mkdir()
    wanted = package(wheel(tmp_path / 'served' / 'pictures-1-py3-none-any.whl', FILES), 'pip')
    monkeypatch.setenv('PIP_NO_INDEX', '1')
    monkeypatch.setenv('PIP_FIND_LINKS', str(tmp_path / 'served'))
    assert fetch(wanted, tmp_path / 'downloads').name == wanted.file


def test_a_file_of_another_sum_leaves_nothing(apt, tmp_path):
    path = debian(apt / 'pictures_1_all.deb', FILES)
    wanted = package(path)
    path.write_bytes(path.read_bytes() + b'\n')
    with pytest.raises(ValueError, match=rf'pictures_1_all.deb is not the file .* SHA-256 is \w+, not {wanted.sha256}'):
        fetch(wanted, tmp_path / 'downloads')
    assert not list((tmp_path / 'downloads').iterdir())


def test_a_file_that_is_there_is_checked_too(tmp_path):
    wanted = package(debian(tmp_path / 'pictures_1_all.deb', FILES))
    (tmp_path / 'downloads').mkdir()
    (tmp_path / 'downloads' / wanted.file).write_bytes(b'something else')
    with pytest.raises(ValueError, match=f'{tmp_path}/downloads/{wanted.file} is not the file'):
        fetch(wanted, tmp_path / 'downloads')


def test_a_client_that_fails_says_what_else_can_be_done(apt, tmp_path):
    wanted = package(debian(tmp_path / 'pictures_1_all.deb', FILES))
    with pytest.raises(OSError, match=r'pictures 1 could not be fetched: apt-get .*E: nothing.*Or put the file'):
        fetch(wanted, tmp_path / 'downloads')
    assert not list((tmp_path / 'downloads').iterdir())
    shutil.copy(tmp_path / wanted.file, tmp_path / 'downloads')
    assert fetch(wanted, tmp_path / 'downloads').is_file()


def test_no_client(tmp_path, monkeypatch):
    wanted = package(debian(tmp_path / 'pictures_1_all.deb', FILES))
    monkeypatch.setenv('PATH', str(tmp_path / 'nowhere'))
    with pytest.raises(OSError, match=r'pictures 1 is a package of Debian, and there is no apt-get here\. Or put'):
        fetch(wanted, tmp_path / 'downloads')
