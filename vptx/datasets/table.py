"""Tables of images and labels, as spreadsheets and Kaggle write them."""

import csv
from pathlib import Path
from typing import NamedTuple

from vptx.datasets.image_list import read_text

__all__ = ['Row', 'read_table']

_SEPARATORS = ',;\t'
#: What people call the splits.
_SPLITS = dict(train='train', training='train', val='val', valid='val', validation='val', test='test', testing='test')


class Row(NamedTuple):
    """One image of a table.

    Attributes:
        path: of the image; relative ones start at the folder of the table.
        label: name of the class.
        split: 'train', 'val' or 'test', or None where the table has no such column.
    """

    path: Path
    label: str
    split: str | None


def read_table(table: Path) -> list[Row]:
    """The rows of a table with the columns ``image``, ``label`` and, maybe, ``split``, in any order, among others.

    Cells are separated by commas, semicolons or tabs; one that holds a separator is quoted. Upper and lower case of the
    names of the columns are the same.

    Raises:
        ValueError: names the file and the line: no such columns, a row of more cells than the header, without an image
            or a label, of an unknown split, or of an image that has another label elsewhere; text that is not UTF-8.
    """
    lines = read_text(table).splitlines(keepends=True)
    reader = csv.reader(lines, delimiter=_separator(table, lines), strict=True, skipinitialspace=True)
    columns: list[str] = []
    rows: list[Row] = []
    labels: dict[Path, str] = {}
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if not columns:
                columns = [cell.lower() for cell in cells]
                continue
            where = f'{table}, line {reader.line_num}'
            if len(cells) > len(columns):
                raise ValueError(
                    f'{where}: {len(cells)} cells ({" | ".join(cells)}) under a header of {len(columns)} columns. '
                    'Quote a name that holds the separator: "a, b.png"'
                )
            rows.append(_row(table, where, dict(zip(columns, cells, strict=False))))
            known = labels.setdefault(rows[-1].path, rows[-1].label)
            if known != rows[-1].label:
                raise ValueError(f'{where}: {rows[-1].path} is {rows[-1].label} here and {known} in an earlier line')
    except csv.Error as error:
        raise ValueError(f'{table}, line {reader.line_num}: {error}. Is a quotation mark left open?') from error
    if not rows:
        raise ValueError(f'{table} names no images: there is nothing below the names of the columns')
    return rows


def _separator(table: Path, lines: list[str]) -> str:
    header = next((line for line in lines if line.strip()), '')
    for separator in _SEPARATORS:
        cells = next(csv.reader([header], delimiter=separator, skipinitialspace=True), [])
        if {'image', 'label'} <= {cell.strip().lower() for cell in cells}:
            return separator
    raise ValueError(
        f'{table} must begin with a line that names the columns: image,label (or with ; or tabs between them), not '
        f'{header.strip()[:80]!r}'
    )


def _row(table: Path, where: str, row: dict[str, str]) -> Row:
    if not row.get('image') or not row.get('label'):
        raise ValueError(f'{where}: {", ".join(row.values())!r} has no image or no label')
    split = None
    if 'split' in row:
        split = _SPLITS.get(row['split'].lower())
        if split is None:
            raise ValueError(f'{where}: the split {row["split"]!r} is none of train, val, test')
    return Row(table.parent / row['image'], row['label'], split)
