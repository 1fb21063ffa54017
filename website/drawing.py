"""A canvas for the figures of the documentation: few shapes, few colours, one file of SVG.

Colours are classes with a light and a dark form. A figure that stands alone follows the reader's system; in a page of
the site it follows the switch of the page, by the rules of :func:`stylesheet`.
"""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

__all__ = ['Drawing', 'stylesheet']


class Look(NamedTuple):
    light: str
    dark: str


# What trains is orange everywhere, what is frozen is grey, and blue is an image.
LOOKS = {
    'ink': Look('fill:#24292f', 'fill:#e6edf3'),
    'soft': Look('fill:#57606a', 'fill:#a5b0bd'),
    'line': Look('stroke:#57606a;fill:none', 'stroke:#a5b0bd;fill:none'),
    'tip': Look('fill:#57606a', 'fill:#a5b0bd'),
    'frozen': Look('fill:#eaeef2;stroke:#8c959f', 'fill:#313944;stroke:#7d8896'),
    'learnt': Look('fill:#ffb757;stroke:#b35900', 'fill:#a35c00;stroke:#ffb45c'),
    'on-learnt': Look('fill:#24292f', 'fill:#ffffff'),
    'trained-line': Look('stroke:#b35900;fill:none', 'stroke:#ffa94d;fill:none'),
    'trained-tip': Look('fill:#b35900', 'fill:#ffa94d'),
    'trained-ink': Look('fill:#953800', 'fill:#ffb870'),
    'sky': Look('fill:#cfe3f7;stroke:#5a88b5', 'fill:#2b4a6b;stroke:#7fa8d1'),
    'hill': Look('fill:#8fb8de;stroke:none', 'fill:#4d7aa8;stroke:none'),
    'class': Look('fill:#b9a5e2;stroke:#6f52b5', 'fill:#6a53a3;stroke:#c3b2ec'),
    'paper': Look('fill:#ffffff;stroke:#8c959f', 'fill:#1b2028;stroke:#7d8896'),
}
FONT = 'font-family:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif'
KINDS = {'c': 'class', 'p': 'learnt', 'e': 'sky', 'f': 'frozen'}


def _rules(scheme: int, scope: str) -> str:
    return ''.join(f'{scope} .{name}{{{look[scheme]}}}' for name, look in LOOKS.items())


def stylesheet() -> str:
    """Rules for a page of the site, which know what its reader has switched to."""
    return '\n'.join(
        _rules(scheme, f'[data-md-color-scheme="{name}"] svg.figure').replace('}', '}\n').rstrip()
        for scheme, name in enumerate(('default', 'slate'))
    )


class Drawing:
    """Shapes in the order in which they are drawn. All numbers are pixels, from the upper left corner.

    Args:
        width, height: of the figure.
        title: what it shows, for those who do not see it.
    """

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self.parts: list[str] = []

    def svg(self) -> str:
        style = (
            f'svg.figure text{{{FONT}}}svg.figure .line,svg.figure .trained-line{{stroke-width:1.5}}'
            f'{_rules(0, "svg.figure")}@media (prefers-color-scheme:dark){{{_rules(1, "svg.figure")}}}'
        )
        title = escape(self.title)
        wide = ' wide' * (self.width > 500)
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="figure{wide}" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img" aria-label="{title}">'
        )
        return '\n'.join([head, f'<title>{title}</title>', f'<style>{style}</style>', *self.parts, '</svg>\n'])

    def box(
        self, x: float, y: float, width: float, height: float, text: str = '', kind: str = 'frozen', size: int = 13
    ) -> None:
        """A rectangle with lines of text in its middle."""
        self.parts.append(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4" class="{kind}"/>')
        lines = text.split('\n') if text else []
        ink = 'on-learnt' if kind == 'learnt' else 'ink'
        for number, line in enumerate(lines):
            offset = (number - (len(lines) - 1) / 2) * (size + 3)
            self.text(x + width / 2, y + height / 2 + offset + size * 0.35, line, ink, size)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        kind: str = 'ink',
        size: int = 13,
        anchor: str = 'middle',
        bold: bool = False,
    ) -> None:
        weight = ' font-weight="600"' if bold else ''
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" class="{kind}" font-size="{size}" text-anchor="{anchor}"{weight}>'
            f'{escape(text)}</text>'
        )

    def path(self, points: Sequence[tuple[float, float]], kind: str = 'line', dashed: bool = False) -> None:
        """Straight lines from point to point."""
        way = ' '.join(f'{x:g},{y:g}' for x, y in points)
        dashes = ' stroke-dasharray="4 3"' if dashed else ''
        self.parts.append(f'<polyline points="{way}" class="{kind}"{dashes}/>')

    def arrow(self, *points: tuple[float, float], kind: str = '', dashed: bool = False) -> None:
        """Straight lines from point to point, along the axes, with a tip at the last one."""
        (x0, y0), (x1, y1) = points[-2:]
        across, down = (x1 > x0) - (x1 < x0), (y1 > y0) - (y1 < y0)
        self.path([*points[:-1], (x1 - 4 * across, y1 - 4 * down)], f'{kind}-line' if kind else 'line', dashed)
        left = x1 - 7 * across + 4 * down, y1 - 7 * down + 4 * across
        right = x1 - 7 * across - 4 * down, y1 - 7 * down - 4 * across
        corners = ' '.join(f'{x:g},{y:g}' for x, y in ((x1, y1), left, right))
        self.parts.append(f'<polygon points="{corners}" class="{f"{kind}-tip" if kind else "tip"}"/>')

    def circle(self, x: float, y: float, radius: float, text: str = '', kind: str = 'paper') -> None:
        self.parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" class="{kind}"/>')
        if text:
            self.text(x, y + 5, text, 'on-learnt' if kind == 'learnt' else 'ink', 14)

    def picture(self, x: float, y: float, size: float, height: float | None = None) -> None:
        """An image: a sun and two hills."""
        height = height or size
        self.box(x, y, size, height, kind='sky')
        self.circle(x + size * 0.72, y + height * 0.28, min(size, height) * 0.1, kind='hill')
        for left, top, right in ((0.04, 0.45, 0.62), (0.4, 0.6, 0.96)):
            corners = [(left, 0.94), ((left + right) / 2, top), (right, 0.94)]
            way = ' '.join(f'{x + size * a:g},{y + height * b:g}' for a, b in corners)
            self.parts.append(f'<polygon points="{way}" class="hill"/>')

    def frame(
        self, x: float, y: float, size: float, inner: tuple[float, float, float, float], kind: str = 'learnt'
    ) -> None:
        """A square with a hole: ``inner`` is left, top, width and height of the hole."""
        left, top, width, height = inner
        self.parts.append(
            f'<path fill-rule="evenodd" class="{kind}" d="M{x:g} {y:g}h{size:g}v{size:g}h{-size:g}z'
            f'M{left:g} {top:g}v{height:g}h{width:g}v{-height:g}z"/>'
        )

    def tokens(self, x: float, y: float, kinds: str, size: float = 16, gap: float = 4, down: bool = False) -> None:
        """A row of tokens, or a column: c the class token, p a prompt, e a patch, f frozen; a space leaves one out."""
        for number, kind in enumerate(kinds):
            if kind != ' ':
                place = number * (size + gap)
                self.box(x + place * (not down), y + place * down, size, size, kind=KINDS[kind])

    def cross(self, x: float, y: float, size: float) -> None:
        """What is not used is crossed out."""
        self.path([(x, y), (x + size, y + size)])
        self.path([(x + size, y), (x, y + size)])
