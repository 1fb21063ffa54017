"""The arguments of constructors: which they take, and those that a prompt file keeps."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from inspect import Parameter, signature
from typing import Any

__all__ = ['asked', 'check_names', 'plain']


def taken(kind: type) -> list[str]:
    """The names that a constructor takes; one with ``**others`` hands them to that of the class it is derived from."""
    names: list[str] = []
    for cls in kind.__mro__[:-1]:
        if '__init__' in vars(cls):
            parameters = list(signature(vars(cls)['__init__']).parameters.values())[1:]
            names += [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
            if all(p.kind is not p.VAR_KEYWORD for p in parameters):
                break
    return list(dict.fromkeys(names))


def check_names(kind: type, given: Iterable[str], also: Iterable[str] = ()) -> None:
    """Refuse an argument that neither the constructor nor those to whom it hands on takes.

    Args:
        kind: whose constructor.
        given: names of arguments.
        also: names that are taken, too.

    Raises:
        TypeError: says the nearest name that is taken, and all.
    """
    names = [*taken(kind), *also]
    for name in given:
        if name not in names:
            near = get_close_matches(name, names, n=1)
            hint = f'; did you mean {near[0]}?' if near else '.'
            takes = f'It takes {", ".join(names)}' if names else 'It takes none'
            raise TypeError(f"{kind.__name__} takes no argument '{name}'{hint} {takes}")


def asked(kind: type, base: type, arguments: Iterable[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a constructor, and the defaults of those that it was not given.

    Args:
        kind: whose constructor; one that takes ``**others`` hands them to that of the class it is derived from.
        base: where the search ends.
        arguments: positional ones.
        named: by name.
    """
    found, given = dict(named), list(arguments)
    for cls in kind.__mro__[: kind.__mro__.index(base)]:
        if '__init__' not in vars(cls):
            continue
        parameters = list(signature(vars(cls)['__init__']).parameters.values())[1:]
        names = [p.name for p in parameters if p.kind is Parameter.POSITIONAL_OR_KEYWORD]
        found, given = {**dict(zip(names, given)), **found}, []
        found = {**{p.name: p.default for p in parameters if p.default is not Parameter.empty}, **found}
        if all(p.kind is not Parameter.VAR_KEYWORD for p in parameters):
            break
    return found


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are numbers, words or lists of them, as JSON has them."""
    listed = {name: _listed(value) for name, value in settings.items()}
    return {name: value for name, value in listed.items() if value is not ...}


def _listed(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if not isinstance(value, (list, tuple, range)):
        return ...
    parts = [_listed(part) for part in value]
    return ... if any(part is ... for part in parts) else parts
