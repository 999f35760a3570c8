"""`layersig compare RUN_OR_ARM ...`."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json, runs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set

    from layersig.findings.contrasts import Contrast
    from layersig.findings.corpus import CorpusContrast
    from layersig.findings.rows.arms import ComparisonRow


@click.command("compare")
@click.argument("names", nargs=-1, required=True, metavar="RUN[:ARM[@DATA]]|[LABEL=]PATH...")
@runs
@as_json
@click.option("--alpha", type=click.FloatRange(0, 0.5, min_open=True), default=0.05, show_default=True)
@click.option(
    "--margin",
    "margins",
    multiple=True,
    metavar="METRIC=VALUE",
    help="Smallest difference that matters, such as acc=0.02; default: that of the reference's recipe, or built in.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the report; default: comparisons/ID in the folder of runs.",
)
def command(
    names: tuple[str, ...], runs: Path, as_json: bool, alpha: float, margins: tuple[str, ...], output: Path | None
) -> None:
    """Compare arms, also across runs and recipes; the first one given is the reference.

    A RUN without an ARM means its all-layers arm as the reference, and all of its arms otherwise. Arms that were not
    measured alike (base model, items, prompts, precision, batch policy) are refused. Verdicts follow the rules of a
    run's report, with p-values and intervals corrected over all comparisons made here, which are exploratory. Where a
    run declared one of them, a note repeats what its own report concludes. Figures, sentences and the table are written
    into a separate report.

    Per-item results from other programs can be compared too: folders that lm-eval wrote with --log_samples, or CSV and
    TSV files (item, arm, seed, value; or one column per arm). Repeat a label to give several runs of one arm.

    \b
    Examples:
      layersig compare quickstart:all-layers quickstart:ila-30 other-run:ila-30
      layersig compare out/base out/tuned
      layersig compare base=out/b tuned=out/t-seed-0 tuned=out/t-seed-1
      layersig compare answers.csv
    """  # noqa: D301 (click reads the \b)
    from layersig.errors import UserError
    from layersig.findings.arms import seed_difference_rows
    from layersig.findings.compare import compare, declared_sentences, judged, sides, split_name, terms_of, unpaired
    from layersig.findings.comparisons import Terms
    from layersig.findings.foreign.sides import NOT_STATED, foreign, is_foreign
    from layersig.findings.plan import margin_of
    from layersig.report.comparison import render_comparison
    from layersig.report.comparison_text import comparison_text
    from layersig.store.runfolder import find_run

    declared = _margins(margins)
    notes: tuple[str, ...] = ()
    found: Sequence[Contrast | CorpusContrast]
    if any(is_foreign(name, runs) for name in names):
        told = foreign(names, runs)
        # The effect of tuning all layers is unknown here, so no arms can be called equivalent.
        terms = Terms(NOT_STATED, alpha, lambda measure: margin_of(measure, declared), lambda _: False)
        found, notes = told.contrasts(), told.notes
    else:
        first, *rest = (split_name(name) for name in names)
        found_runs = {name: find_run(runs, name) for name in dict.fromkeys([first[0], *(name for name, _ in rest)])}
        for folder in found_runs.values():
            folder.verify()
        reference = sides(found_runs[first[0]], first[1] or "all-layers")
        if len(reference) > 1:
            raise UserError(
                f"{names[0]!r} means several arms; name one as the reference: {', '.join(s.label for s in reference)}"
            )
        others = [side for run, arm in (rest or [(first[0], None)]) for side in sides(found_runs[run], arm)]
        others = [side for side in others if side.label != reference[0].label]
        terms = terms_of(reference[0], others, alpha, declared)
        found = compare(reference[0], others)
        notes = (*unpaired(reference[0], others), *declared_sentences(reference[0], others))
    _check_measured(declared, {name for each in found for name in (each.measure.metric, each.measure.kind)})
    for note in notes:
        click.echo(f"note: {note}", err=True)
    rows = judged(found, terms)
    asked = [*names, f"--alpha={alpha:g}", *(f"--margin={margin}" for margin in margins)]
    destination = output or runs / "comparisons" / hashlib.sha256("\0".join(asked).encode()).hexdigest()[:12]
    by_seed = [row for each in found for row in seed_difference_rows(each)]
    page = render_comparison(rows, by_seed, terms.model, shlex.join(["layersig", "compare", *asked]), destination)
    text = "\n".join([*comparison_text(rows), f"report: {page}"])
    value = {"comparisons": [_figures(row) for row in rows], "notes": notes, "report": str(page)}
    emit(value, as_json=as_json, text=text)


def _margins(given: tuple[str, ...]) -> dict[str, float]:
    from layersig.recipe.metrics import UP_TO_ONE, kind_of

    found: dict[str, float] = {}
    for text in given:
        metric, _, value = text.rpartition("=")
        try:
            found[metric] = float(value)
        except ValueError:
            found[metric] = 0.0
        if not metric or not 0 < found[metric] < (1 if kind_of(metric) in UP_TO_ONE else float("inf")):
            reason = "write METRIC=VALUE with a positive number, shares of items from 0 to 1, such as acc=0.02"
            raise click.BadParameter(f"{text!r}: {reason}", param_hint="--margin")
    return found


def _check_measured(margins: Mapping[str, float], measured: Set[str]) -> None:
    """Refuse margins of metrics that nothing is compared in."""
    for metric in margins:
        if metric not in measured:
            reason = f'nothing is compared in "{metric}"; the metrics are: {", ".join(sorted(measured))}'
            raise click.BadParameter(reason, param_hint="--margin")


def _figures(row: ComparisonRow) -> dict[str, Any]:
    """A comparison under the stable key names of the JSON output."""
    values = row.model_dump(mode="json", exclude={"role", "outcome", "primary", "bootstrap_low", "bootstrap_high"})
    return {**values, "difference": row.estimate, "tests": row.family_size}
