"""What studies leave on disk, read as data: nothing in it runs, is imported or is fetched.

    <out>/results.json, trials.csv                  of all studies
    <out>/<method>/<task>/config.json               of one: its config with everything resolved
    <out>/<method>/<task>/.../result.json           of one run

Results of others are data to their reader. A file that is damaged is named; keys that a later version has added
are passed over.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from importlib import import_module
from math import isfinite
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import mmengine.registry
from mmengine.config import Config
from mmengine.registry import Registry

from vptx.files import existing, read_json
from vptx.registry import MAPPINGS, NETS, PROMPTERS, TEXT_TOWERS
from vptx.weights.hub import is_cached

__all__ = ['as_record', 'config_text', 'inside', 'read_config', 'read_rows']

Record = TypeVar('Record')
TUPLE = 'tuple of'  # JSON has lists alone, and transforms tell them apart
SCOPES = ('mmengine', 'mmcv', 'mmpretrain', 'mmseg')
#: Columns of trials.csv; what else is there are settings.
TEXTS, NUMBERS = ('config', 'task', 'split'), ('score', 'trained', 'seconds', 'megabytes', 'kilobytes')


def as_record(kind: type[Record], found: Any, where: Path) -> Record:
    """A dataclass from what a JSON file says, further keys passed over.

    Raises:
        ValueError: begins with the file; a value is missing, of another type, or no finite number.
    """
    if not isinstance(found, dict):
        raise ValueError(f'{where} is damaged: expected the facts of a {kind.__name__}, found a {type(found).__name__}')
    types, values = get_type_hints(kind), {}
    for part in fields(kind):  # type: ignore[arg-type]
        if part.name in found:
            values[part.name] = found[part.name]
            if not _is_a(values[part.name], types[part.name]):
                raise ValueError(f'{where} is damaged: {part.name} is {values[part.name]!r}')
        elif part.default is MISSING and part.default_factory is MISSING:
            raise ValueError(f'{where} is damaged: {part.name} is not there')
    return kind(**values)


def _is_a(value: Any, kind: Any) -> bool:
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin is UnionType:
        return any(_is_a(value, part) for part in parts)
    if origin is list:
        return isinstance(value, list) and all(_is_a(part, parts[0]) for part in value)
    if origin is dict:
        return isinstance(value, dict) and all(_is_a(part, parts[1]) for part in value.values())
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
    if kind in (None, NoneType):
        return value is None
    return type(value) is kind


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a ``trials.csv``, as text.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: begins with the file and the line: no table, a column is missing, or no finite number.
    """
    if not existing(path).read_bytes().endswith(b'\n'):
        raise ValueError(f'{path} is damaged: its last line does not end, so that a part of it may be missing')
    try:
        with path.open(newline='', encoding='utf-8') as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, row) for row in reader]
            columns = reader.fieldnames or ()
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f'{path} is damaged: no table of text ({error})') from error
    lacking = [name for name in (*TEXTS, *NUMBERS) if name not in columns]
    if lacking and columns:
        raise ValueError(f'{path} is damaged: it has no column {lacking[0]}')
    for line, row in rows:
        if None in row or None in row.values():
            raise ValueError(f'{path}, line {line} is damaged: it has not as many cells as the first line')
        for name in NUMBERS:
            if (row[name] or name != 'score') and not _is_finite(row[name]):  # a run that broke off has no score
                raise ValueError(f"{path}, line {line} is damaged: {name} is '{row[name]}', not a finite number")
    return [row for _, row in rows]


def _is_finite(text: str) -> bool:
    try:
        return isfinite(float(text))
    except ValueError:
        return False


def inside(folder: Path, *parts: str) -> Path:
    """A path below ``folder``, of names that a file gave.

    Raises:
        ValueError: it is elsewhere.
    """
    path = folder.joinpath(*parts)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f'{folder / "results.json"} is refused: it names {path}, which is outside of {folder}')
    return path


def config_text(config: Config, **facts: Any) -> str:
    """A resolved config, and facts besides it, as JSON."""
    return json.dumps(dict(config=_as_json(config.to_dict()), **facts), indent=1, default=_name)


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _as_json(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return {TUPLE: [_as_json(part) for part in value]}
    return [_as_json(part) for part in value] if isinstance(value, list) else value


def _name(value: Any) -> str:
    """A class, by the name under which it is registered."""
    return getattr(value, '__name__', str(value))


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {TUPLE} and isinstance(value[TUPLE], list):
            return tuple(_from_json(part) for part in value[TUPLE])
        return {key: _from_json(part) for key, part in value.items()}
    return [_from_json(part) for part in value] if isinstance(value, list) else value


def read_config(
    path: Path, parts: Sequence[str] = ('model', 'custom_hooks', 'test_dataloader'), download: bool = False
) -> Config:
    """A config that ``config_text`` has written, from which ``parts`` may be built.

    Args:
        path: of the file.
        parts: of the config.
        download: whether weights that timm publishes may be downloaded when the parts are built; if not, they must be
            in the cache.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: begins with the file; no config, or one that asks for anything but registered classes: for objects
            by their path in Python, for code or weights at an address, or for weights that are not in the cache.
    """
    found = read_json(path)
    found = found.get('config') if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise ValueError(f'{path} is damaged: there is no config in it')
    found = _from_json(found)
    found.pop('custom_imports', None)  # what it names is imported by the user, who trusts it
    scope = found.get('default_scope')
    for module in [scope] * (scope in SCOPES) + ['vptx.segmentation'] * (scope == 'mmseg'):
        import_module(module)
    known = set(_registered())
    for name, value in _walk({part: found.get(part) for part in parts}):
        if name == 'type' and isinstance(value, str):
            scope, _, kind = value.rpartition('.')
            if kind not in known or (scope and scope not in SCOPES):
                raise ValueError(
                    f"{path} is refused: it asks for '{value}', which is no registered class. Code is not imported "
                    'because a file says so: name the module that registers it, as --import my_module'
                )
        elif isinstance(value, str) and value.startswith('timm://'):
            if not download and not is_cached(value):
                raise ValueError(
                    f"{path} is refused: it asks for '{value}', which is not in the cache (HF_HOME). Nothing is "
                    'fetched unless you ask for it, as vptx report --download does'
                )
        elif name == 'trust_remote_code' or (name == 'pretrained' and value is True) or _is_address(value):
            raise ValueError(
                f"{path} is refused: it asks for {name}='{value}'. Nothing is fetched because a file says so: fetch "
                'it, and name the file in the config of the runs'
            )
    return Config(found)


def _is_address(value: Any) -> bool:
    """Whether it is fetched from somewhere."""
    return isinstance(value, str) and (value.startswith(('hf-hub:', 'hf_hub:', 'local-dir:')) or '://' in value[:20])


def _walk(value: Any, name: str = '') -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _walk(part, key)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _walk(part, name)
    else:
        yield name, value


def _registered() -> Iterator[str]:
    """The names of all classes that registries know, of the libraries that are imported."""
    roots = [value for value in vars(mmengine.registry).values() if isinstance(value, Registry)]
    waiting = [*roots, PROMPTERS, NETS, MAPPINGS, TEXT_TOWERS]
    while waiting:
        registry = waiting.pop()
        registry.import_from_location()
        yield from registry.module_dict
        waiting += registry.children.values()
