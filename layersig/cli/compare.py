"""`layersig compare RUN_OR_ARM ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json, runs


@click.command("compare")
@click.argument("names", nargs=-1, required=True, metavar="RUN[:ARM[@DATA]]|[LABEL=]PATH...")
@runs
@as_json
@click.option("--alpha", type=click.FloatRange(0, 0.5, min_open=True), default=0.05, show_default=True)
def command(names: tuple[str, ...], runs: Path, as_json: bool, alpha: float) -> None:
    """Compare arms, also across runs and recipes: the first is the reference of all others.

    A RUN without an ARM stands for its all-layers arm as the reference, and for every arm elsewhere. Arms that were not
    measured alike (base model, items, prompts, precision, batch policy) are refused. Comparisons made here were
    declared by no recipe: they are exploratory, estimates without a verdict, with p-values corrected over all of them.

    Per-item results from elsewhere take the place of runs: folders that lm-eval filled with --log_samples, or CSV and
    TSV files (item, arm, seed, value; or a column an arm). A label given several times collects the runs of an arm.

    \b
    Examples:
      layersig compare quickstart:all-layers quickstart:ila-30 other-run:ila-30
      layersig compare out/base out/tuned
      layersig compare base=out/b tuned=out/t-seed-0 tuned=out/t-seed-1
      layersig compare answers.csv
    """  # noqa: D301 (click reads the \b)
    from layersig.errors import UserError
    from layersig.findings.compare import compare, rows, sides, split_name
    from layersig.findings.foreign.sides import NOT_STATED, foreign, is_foreign
    from layersig.store.runfolder import find_run

    if any(is_foreign(name, runs) for name in names):
        told = foreign(names, runs)
        shown = rows(told.contrasts(), NOT_STATED, alpha)
        for note in told.notes:
            click.echo(f"warning: {note}", err=True)
        emit({"comparisons": shown, "notes": told.notes}, as_json=as_json, text="\n".join(map(_line, shown)))
        return
    first, *rest = (split_name(name) for name in names)
    found_runs = {name: find_run(runs, name) for name in dict.fromkeys([first[0], *(name for name, _ in rest)])}
    for folder in found_runs.values():
        folder.verify()
    reference = sides(found_runs[first[0]], first[1] or "all-layers")
    if len(reference) > 1:
        raise UserError(
            f"{names[0]!r} means several arms; the reference is one: {', '.join(s.label for s in reference)}"
        )
    others = [side for run, arm in (rest or [(first[0], None)]) for side in sides(found_runs[run], arm)]
    found = compare(reference[0], [side for side in others if side.label != reference[0].label])
    shown = rows(found, reference[0].files.model, alpha)
    emit({"comparisons": shown}, as_json=as_json, text="\n".join(map(_line, shown)))


def _line(row: dict[str, Any]) -> str:
    ends = "no interval" if row["low"] is None else f"[{row['low']:+.4f}, {row['high']:+.4f}]"
    p = "" if row["p"] is None else f"  p {row['p']:.3g} ({row['test']})"
    corrected = "" if row["adjusted_p"] is None else f", {row['adjusted_p']:.3g} corrected for {row['tests']}"
    return (
        f"{row['arm']} minus {row['reference']}\n  {row['task']} {row['metric']}: {row['difference']:+.4f} {ends}{p}"
        f"{corrected}  n {row['n']}, {row['seeds']} seed(s), scope {row['scope']}, exploratory"
    )
