"""Tables in text files: comma, tab or semicolon, whichever the first line has most of."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from layersig.errors import UserError


def delimited(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV or TSV file that are not empty, names of the columns first, each with its line.

    Cells have no white space around them.

    Raises:
        UserError: There is no such file, it cannot be read, or a row has more cells than there are columns.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; a CSV or TSV file is needed") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: it is not UTF-8 ({error.reason}); save it as a CSV file in UTF-8") from None
    lines = text.splitlines()
    head = next((line for line in lines if line.strip()), "")
    reader = csv.reader(lines, delimiter=max("\t;,", key=head.count), strict=True)
    columns = 0
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if not any(stripped):
                continue
            columns = columns or len(stripped)
            if any(stripped[columns:]):
                raise UserError(f"{path}:{reader.line_num}: {len(cells)} cells, but {columns} columns")
            yield reader.line_num, [*stripped, *[""] * (columns - len(stripped))][:columns]
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: it cannot be read as CSV ({error})") from None
