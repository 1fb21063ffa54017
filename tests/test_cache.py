"""Where things are kept, and paths that lead there."""

from pathlib import Path

import pytest

from vptx.cache import cache_folder, locate, real_folder


def test_folder_is_the_first_that_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv('VPTX_CACHE', raising=False)
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    assert cache_folder() == Path.home() / '.cache' / 'vptx'
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'xdg'))
    assert cache_folder() == tmp_path / 'xdg' / 'vptx'
    monkeypatch.setenv('VPTX_CACHE', str(tmp_path / 'own'))
    assert cache_folder() == tmp_path / 'own'


def test_other_paths_stay_as_they_are():
    assert locate('data/custom') == Path('data/custom')
    assert locate('~/data') == Path.home() / 'data'


def test_real_names_are_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv('VPTX_CACHE', str(tmp_path))
    (real_folder() / 'stamps').mkdir(parents=True)
    assert locate('real://stamps') == tmp_path / 'real' / 'stamps'
    with pytest.raises(FileNotFoundError, match=r'real://scenes: there is no .*/real/scenes.*make real'):
        locate('real://scenes')


@pytest.mark.parametrize('name', ['', '../stamps', '/etc/passwd', 'stamps/../../x'])
def test_names_that_lead_out_of_the_cache(monkeypatch, tmp_path, name):
    monkeypatch.setenv('VPTX_CACHE', str(tmp_path))
    with pytest.raises(ValueError, match='is no name in'):
        locate(f'real://{name}')
