"""What became of a file's tensors: one table."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ['Report']


@dataclass
class Report:
    """What ``vptx.weights.load_weights`` did.

    Attributes:
        title: the file, its layout, and the class of the model.
        loaded: tensors of the model that were filled.
        resized: of these, the ones interpolated: name -> (shape in the file, shape in the model).
        dropped: tensors of the file that the model has no use for.
        as_built: tensors of the model that were left alone.
    """

    title: str
    loaded: list[str] = field(default_factory=list)
    resized: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    as_built: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        resized = ', '.join(f'{name} {was} -> {now}' for name, (was, now) in self.resized.items())
        rows = [
            ('loaded', self.loaded, _roots(self.loaded)),
            ('resized', self.resized, resized),
            ('dropped', self.dropped, _roots(self.dropped)),
            ('as built', self.as_built, _roots(self.as_built)),
        ]
        return '\n'.join([self.title, *(f'  {kind:8} {len(names):5}  {text}' for kind, names, text in rows if names)])


def _roots(names: Iterable[str]) -> str:
    """``blocks (48), norm (2)``: names counted by their first component."""
    return ', '.join(f'{root} ({n})' for root, n in Counter(name.split('.')[0] for name in names).items())
