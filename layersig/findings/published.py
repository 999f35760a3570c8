"""Published numbers, read: rows of a table, or one from the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from pathlib import Path
from typing import Literal

from layersig.analysis.published import AccuracyCheck, OverlapCheck
from layersig.analysis.reported import Counts, Figure, counts_behind, counts_cut
from layersig.errors import UserError
from layersig.findings.delimited import delimited

Kind = Literal["overlap", "accuracies"]

_OVERLAP = ("n", "k", "k_b", "jaccard", "shared", "agreement")
_STATISTICS = ("jaccard", "shared", "agreement")
_ACCURACIES = ("accuracy_a", "accuracy_b", "items", "discordant")
FIELDS = ("name", *_OVERLAP, *_ACCURACIES)
"""Columns of a table of published numbers."""
_MOST = 10**7


@dataclass(frozen=True)
class PublishedTable:
    """Published numbers, read.

    Attributes:
        name: What the table calls them.
        kind: What they are.
        reported: The numbers as they were printed, by field.
        check: What they allow to be said; None where they are impossible.
        impossible: Why no data give them; None where some do.
    """

    name: str
    kind: Kind
    reported: Mapping[str, str]
    check: OverlapCheck | AccuracyCheck | None
    impossible: str | None = None


class _Fault(ValueError):
    """A field that cannot be read."""


def published(fields: Mapping[str, str], name: str) -> PublishedTable:
    """Read published numbers.

    Args:
        fields: Texts by name of the field, see `FIELDS`; empty ones do not count.
        name: What to call them.

    Raises:
        UserError: A field is missing, is no number or out of its range.
    """
    given = {field: text.strip() for field, text in fields.items() if text.strip() and field != "name"}
    overlap, accuracies = (any(field in given for field in group) for group in (_OVERLAP, _ACCURACIES))
    try:
        if overlap and accuracies:
            raise _Fault("fields of an overlap and of two accuracies cannot be mixed; give each a row of its own")
        if not overlap and not accuracies:
            raise _Fault("neither an overlap (n, k, and jaccard, shared or agreement) nor accuracies are given")
        read = _overlap if overlap else _accuracies
        check = read(given)
    except _Fault as error:
        raise UserError(f"{name}: {error}" if name else str(error)) from None
    kind: Kind = "overlap" if overlap else "accuracies"
    return (
        PublishedTable(name, kind, given, None, check)
        if isinstance(check, str)
        else PublishedTable(name, kind, given, check)
    )


def read_table(path: Path) -> list[PublishedTable]:
    """The rows of a CSV or TSV file whose first line names `FIELDS`, in any order and not all of them.

    Raises:
        UserError: The file cannot be read, or rows of it cannot: every such row is named.
    """
    found, faults = [], []
    for number, row in _rows(path):
        try:
            found.append(published(row, row.get("name", "").strip() or f"row {number}"))
        except UserError as error:
            faults.append(f"{path}:{number}: {error}")
    if faults:
        raise UserError("\n".join(faults))
    if not found:
        raise UserError(f"{path}: there are no rows below the names of the columns")
    return found


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    rows = delimited(path)
    for line, cells in rows:
        names = _names(cells, f"{path}:{line}")
        yield from ((number, dict(zip(names, row, strict=True))) for number, row in rows)


def _names(cells: Sequence[str], where: str) -> list[str]:
    names = [cell.strip().lower().replace("-", "_").replace(" ", "_") for cell in cells]
    for name, cell in zip(names, cells, strict=True):
        if name not in FIELDS:
            close = get_close_matches(name, FIELDS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(FIELDS)}"
            raise UserError(f"{where}: there is no column {cell.strip()!r}; {hint}")
        if names.count(name) > 1:
            raise UserError(f"{where}: two columns are called {name}")
    return names


def _overlap(given: Mapping[str, str]) -> OverlapCheck | str:
    """The check of an overlap, or why it is impossible."""
    n, size_a = _whole(given, "n", 1, _MOST), _whole(given, "k", 1, _MOST)
    size_b = _whole(given, "k_b", 1, _MOST) if "k_b" in given else size_a
    if max(size_a, size_b) > n:
        raise _Fault(f"k: a set of {max(size_a, size_b)} cannot be chosen from n = {n}")
    named = [field for field in _STATISTICS if field in given]
    if len(named) != 1:
        raise _Fault(f"exactly one of {', '.join(_STATISTICS)} is needed, not {len(named)}")
    [field] = named
    figure = _figure(given, field)
    sizes = size_a + size_b
    counts: Mapping[str, Callable[[Fraction], Fraction]] = {
        "jaccard": lambda value: value * sizes / (1 + value),
        "shared": lambda value: value * min(size_a, size_b) if figure.percent else value,
        "agreement": lambda value: (value * n - n + sizes) / 2,
    }
    if field == "shared" and not figure.percent and not figure.whole:
        raise _Fault(
            f"shared: {figure.text} is not a whole number; write a share of the smaller set as a percentage, 95%"
        )
    if field != "shared" and figure.whole and figure.value <= 1:
        raise _Fault(_bare(field, figure))
    if (field != "shared" or figure.percent) and figure.value > 1:
        raise _Fault(f"{field}: {figure.text} is not between 0 and 1; write a percentage with its sign, such as 90%")
    smallest, largest = max(0, sizes - n), min(size_a, size_b)
    if field == "shared" and figure.whole:
        figure = Figure(figure.text, figure.value, Fraction(0))  # a count is not rounded
    shared = counts_behind(figure, counts[field], smallest, largest)
    if shared:
        return OverlapCheck(n, size_a, size_b, shared)
    sets = f"two sets of {size_a} of {n}" if size_a == size_b else f"sets of {size_a} and {size_b} of {n}"
    inverse: Mapping[str, Callable[[int], float]] = {
        "jaccard": lambda count: count / (sizes - count),
        "shared": lambda count: count / min(size_a, size_b) if figure.percent else count,
        "agreement": lambda count: (n - sizes + 2 * count) / n,
    }
    least, most = (inverse[field](count) for count in (smallest, largest))
    if figure.high < least or figure.low > most:
        return f"{field} {figure.text} is impossible: for {sets} it lies between {least:.4g} and {most:.4g}"
    cut = counts_cut(figure, counts[field], smallest, largest)
    near = int(counts[field](figure.value))
    around = " and ".join(
        f"{inverse[field](count):.6g} ({count} shared)" for count in (near, near + 1) if smallest <= count <= largest
    )
    return (
        f"{field} {figure.text} is impossible for a single pair: {sets} can have {around}, neither of which rounds to "
        f"it{_cut(cut)}. A mean over several pairs could"
    )


def _accuracies(given: Mapping[str, str]) -> AccuracyCheck | str:
    """The check of two accuracies, or why they are impossible."""
    items = _whole(given, "items", 2, _MOST)
    figures = {field: _figure(given, field) for field in ("accuracy_a", "accuracy_b")}
    if any(figure.percent or figure.value > 1 for figure in figures.values()):
        figures = {field: figure.as_percent() for field, figure in figures.items()}
    if bare := [field for field, figure in figures.items() if figure.whole]:
        raise _Fault(_bare(bare[0], figures[bare[0]]))
    solved = []
    for field, figure in figures.items():
        if figure.value > 1:
            raise _Fault(f"{field}: {figure.text} is more than 100 %")
        counts = counts_behind(figure, lambda share: share * items, 0, items)
        if not counts:
            below = int(figure.value * items)
            scale = 100 if figure.percent else 1
            around = " and ".join(f"{scale * count / items:.6g} ({count})" for count in (below, below + 1))
            cut = counts_cut(figure, lambda share: share * items, 0, items)
            return (
                f"{field} {figure.text} is impossible as a share of {items} items: the counts around it give {around}, "
                f"neither of which rounds to it{_cut(cut)}. A mean over several runs, or over the parts of a "
                "benchmark, could"
            )
        solved.append(counts)
    check = AccuracyCheck(items, solved[0], solved[1])
    if "discordant" not in given:
        return check
    figure = _figure(given, "discordant")
    if not figure.percent and not figure.whole:
        raise _Fault(
            f"discordant: {figure.text} is not a whole number; write a share of the items as a percentage, 12%"
        )
    if figure.percent:
        discordant = counts_behind(figure, lambda share: share * items, 0, items)
    else:
        discordant = Counts(int(figure.value), int(figure.value))
    found = AccuracyCheck(items, solved[0], solved[1], discordant)
    if found.possible:
        return found
    return (
        f"discordant {figure.text} is impossible: with these accuracies the two differ on {check.possible} of {items} "
        "items, and on an even number of items more than the difference of what they solve"
    )


def _bare(field: str, figure: Figure) -> str:
    return (
        f"{field}: {figure.text} without decimals could be anything that rounds to it; write it with the decimals that "
        f"were printed, such as {figure.text}.00, or with a percent sign"
    )


def _cut(counts: Counts) -> str:
    return f" (cut off instead of rounded, it stands for {counts})" if counts else ""


def _figure(given: Mapping[str, str], field: str) -> Figure:
    if field not in given:
        raise _Fault(f"{field} is missing")
    try:
        return Figure.read(given[field])
    except ValueError as error:
        raise _Fault(f"{field}: {error}") from None


def _whole(given: Mapping[str, str], field: str, least: int, most: int) -> int:
    figure = _figure(given, field)
    if not figure.whole or not least <= figure.value <= most:
        raise _Fault(f"{field}: {given[field]!r} is not a whole number from {least:,} to {most:,}")
    return int(figure.value)
