"""The text of a config, laid out once: a run asks for it seven times, which takes longer than its training."""

from functools import cache

from yapf.yapflib import yapf_api  # writes a cache when first imported: once, before workers do it side by side

_format = yapf_api.FormatCode


@cache
def _formatted(text: str, style: tuple, options: tuple) -> tuple[str, bool]:
    return _format(text, style_config=dict(style), **dict(options))


def _remembered(text: str, style_config: dict, **options) -> tuple[str, bool]:
    return _formatted(text, tuple(style_config.items()), tuple(options.items()))


def lay_out_once() -> None:
    """In this process, and in those that it forks."""
    yapf_api.FormatCode = _remembered
