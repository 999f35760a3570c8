"""`layersig check`: published numbers, without a run."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json
from layersig.errors import UserError


@click.command("check")
@click.argument("table", required=False, type=click.Path(path_type=Path))
@click.option("--n", metavar="N", help="Layers to choose from.")
@click.option(
    "--k", metavar="K", multiple=True, help="Number of layers in both sets; give it twice for sets of different size."
)
@click.option("--jaccard", metavar="J", help="Jaccard index of the sets: intersection over union.")
@click.option("--shared", metavar="X", help="Number of shared layers, or a percentage of the smaller set, such as 95%.")
@click.option("--agreement", metavar="A", help="Share of the N layers on which the sets agree (both in, or both out).")
@click.option("--accuracy", metavar="A B", nargs=2, help="Two accuracies on the same items, in percent or as shares.")
@click.option("--items", metavar="N", help="Items behind the accuracies.")
@click.option("--discordant", metavar="D", help="Number or percentage of items that exactly one of the two solves.")
@click.option("--alpha", type=click.FloatRange(0, 0.5, min_open=True, max_open=True), default=0.05, show_default=True)
@as_json
@click.option("--csv", "as_csv", is_flag=True, help="The rows as CSV.")
def command(
    table: Path | None,
    n: str | None,
    k: tuple[str, ...],
    jaccard: str | None,
    shared: str | None,
    agreement: str | None,
    accuracy: tuple[str, str] | None,
    items: str | None,
    discordant: str | None,
    alpha: float,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Show what published numbers can mean: an overlap of two sets of layers, or two accuracies.

    Numbers are taken as printed: .90 is anything from .895 to .905, so keep the digits. TABLE is a CSV or TSV file of
    such numbers, whose first line names its columns: name, n, k, k_b, jaccard, shared, agreement; accuracy_a,
    accuracy_b, items, discordant. Its p-values are corrected over the table. Numbers that no data can give are reported
    as impossible.

    \b
    Examples:
      layersig check --n 225 --k 169 --jaccard .90
      layersig check --accuracy 45.78 44.58 --items 14042
      layersig check table.csv
    """  # noqa: D301 (click reads the \b)
    from layersig.findings.published import published, read_table
    from layersig.findings.published_rows import LIMITS, rows

    if len(k) > 2:
        raise UserError("--k is given once for both sets, or twice, for the first and the second")
    a, b = accuracy or (None, None)
    sizes = dict(zip(("k", "k_b"), k, strict=False))
    given = {"n": n, **sizes, "jaccard": jaccard, "shared": shared, "agreement": agreement}
    given |= {"accuracy_a": a, "accuracy_b": b, "items": items, "discordant": discordant}
    fields = {name: text for name, text in given.items() if text is not None}
    if empty := [name for name, text in fields.items() if not text.strip()]:
        raise UserError(f"{empty[0]} is empty; give a number")
    if (table is None) == (not fields):
        raise UserError("give either a TABLE or the numbers of one check; `layersig check --help` shows both")
    found = rows(read_table(table) if table is not None else [published(fields, "")], alpha)
    limits = {kind: text for kind, text in LIMITS.items() if any(row["kind"] == kind for row in found)}
    if as_csv:
        click.echo(_csv(found), nl=False)
        return
    parts = [_table(found)] if table is not None else []
    parts += ["\n".join([*([row["name"]] if row["name"] else []), *row["sentences"]]) for row in found]
    parts += [f"What they leave open: {text}" for text in limits.values()]
    emit({"alpha": alpha, "rows": found, "limits": limits}, as_json=as_json, text="\n\n".join(parts))


def _flat(row: Mapping[str, Any]) -> dict[str, str]:
    """The values of a row, without nesting."""
    flat = {"name": row["name"], "kind": row["kind"], "verdict": row["verdict"]}
    flat["reported"] = ", ".join(f"{name} {text}" for name, text in row["reported"].items())
    for field in ("shared", "kappa", "difference", "discordant", "p", "adjusted_p"):
        low, high = row.get(field) or (None, None)
        flat |= {f"{field}_low": low, f"{field}_high": high}
    for field, keys in (("chance", ("jaccard", "jaccard_low", "jaccard_high")), ("unpaired", ("low", "high"))):
        flat |= {f"{field}_{key}": row.get(field, {}).get(key) for key in keys}
    flat["significant_up_to"] = row.get("significant_up_to")
    flat["sentences"] = " ".join(row["sentences"])
    return {name: "" if value is None else str(value) for name, value in flat.items()}


def _csv(found: Sequence[Mapping[str, Any]]) -> str:
    flat = [_flat(row) for row in found]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue()


def _table(found: Sequence[Mapping[str, Any]]) -> str:
    head = ("row", "reported", "kappa or difference", "p", "corrected", "verdict")
    body = [head, *map(_cells, found)]
    widths = [max(map(len, column)) for column in zip(*body, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in body
    )


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    reported = ", ".join(f"{name} {text}" for name, text in row["reported"].items())
    if row["verdict"] == "impossible":
        return row["name"], reported, "", "", "", "impossible"
    scale, form = (1, ".2f") if row["kind"] == "overlap" else (100, "+.2f")
    effect = row["kappa"] if row["kind"] == "overlap" else row["difference"]
    shown = "-" if effect is None else _ends([f"{scale * value:{form}}" for value in effect])
    spans = (_ends([f"{value:.2g}" for value in row[field]]) for field in ("p", "adjusted_p"))
    return row["name"], reported, shown, *spans, row["verdict"]


def _ends(texts: Sequence[str]) -> str:
    return " to ".join(dict.fromkeys(texts))
