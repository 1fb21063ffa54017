"""Members of packages: only what is wanted is read, and nothing in an archive becomes a path."""

import pytest
from packages import debian, wheel

from vptx.real import archives
from vptx.real.archives import members, only

FILES = {'usr/share/a/1.png': b'one', 'usr/share/b/2.png': b'two!', 'usr/share/a/read.me': b'text'}


def written(kind, tmp_path):
    return debian(tmp_path / 'a_1_all.deb', FILES) if kind == 'deb' else wheel(tmp_path / 'a-1-py3-none-any.whl', FILES)


@pytest.mark.parametrize('kind', ['deb', 'whl'])
def test_wanted_members_alone(kind, tmp_path):
    archive = written(kind, tmp_path)
    assert dict(members(archive, lambda name: name.endswith('.png'))) == {
        name: content for name, content in FILES.items() if name.endswith('.png')
    }
    assert only(archive, 'usr/share/a/read.me') == b'text'
    with pytest.raises(ValueError, match=f'{archive.name} has no usr/share/c'):
        only(archive, 'usr/share/c')


def test_links_are_no_files(tmp_path):
    archive = debian(tmp_path / 'a_1_all.deb', {'x.png': b'x'}, links={'y.png': '/etc/passwd', '../../z.png': 'x.png'})
    assert dict(members(archive, lambda name: name.endswith('.png'))) == {'x.png': b'x'}


@pytest.mark.parametrize('kind', ['deb', 'whl'])
@pytest.mark.parametrize('share', [0, 0.01, 0.5, 0.9])
def test_truncated_archives(kind, share, tmp_path):
    archive = written(kind, tmp_path)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=archive.name):
        list(members(archive, lambda name: True))


@pytest.mark.parametrize('kind', ['deb', 'whl'])
def test_a_member_that_is_too_large(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, 'LARGEST', 3)
    with pytest.raises(ValueError, match=r'2\.png claims to have 4 bytes'):
        list(members(written(kind, tmp_path), lambda name: name.endswith('.png')))
