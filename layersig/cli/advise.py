"""`layersig advise DATA`."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from layersig.cli.first_recipe import MODEL, Start, first_recipe, name_of, read_data, usual_heldout
from layersig.cli.main import emit
from layersig.cli.options import as_json, offline, runs
from layersig.errors import StageFailed, UserError
from layersig.exporting import TOOLS
from layersig.exporting.models import loadable_base

if TYPE_CHECKING:
    from layersig.exporting.chosen import Chosen
    from layersig.recipe.load import LoadedRecipe
    from layersig.report.material import Material

_ARM = "selected"
_SEEDS = 3
"""With three or more, the report tests whether another training would choose the same layers."""
_MORE_SEEDS = 5
"""With five or more, the report also says how many layers surely belong to the selection."""
_MARK = "# Written by `layersig advise`, which writes it again: rename it before you change it.\n#\n"


class Share(click.ParamType[float]):
    """A share of the layers: `30%` or `0.3`."""

    name = "share"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The share, above 0 and at most 1."""
        text = str(value).strip()
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            share = 0.0
        if not 0 < share <= 1:
            self.fail(f"write a share of the layers such as 30% or 0.3, got {text!r}", param, ctx)
        return share


@click.command("advise")
@click.argument("data", type=click.Path(path_type=Path), metavar="DATA")
@click.option("--model", default=MODEL, show_default=True, help="Model: hub:ID, path:FOLDER or pypi:NAME.")
@click.option("--budget", type=Share(), default="30%", show_default=True, help="Share of the layers to tune.")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=_SEEDS,
    show_default=True,
    help="Training runs of every arm; more make the answer surer, and those that ran are not run again.",
)
@click.option(
    "--heldout",
    type=click.IntRange(min=1),
    help="Held-out conversations. [default: a fifth of the rows, at most 100]",
)
@click.option(
    "--search", is_flag=True, help="Give every arm the best of three learning rates: three times the trainings."
)
@click.option("-o", "recipe", type=click.Path(path_type=Path), help="Recipe to write. [default: NAME-OF-DATA.toml]")
@click.option("--to", "tool", type=click.Choice(TOOLS), help="Also write the layers as the configuration of this tool.")
@runs
@offline
@as_json
def command(
    data: Path,
    model: str,
    budget: float,
    seeds: int,
    heldout: int | None,
    search: bool,
    recipe: Path | None,
    tool: str | None,
    runs: Path,
    offline: bool,
    as_json: bool,
) -> int:
    """Recommend which layers of a model to tune on DATA, a .jsonl, .json or .parquet file of conversations.

    Writes a recipe, says how long it will take, runs it, and prints the chosen layers, how sure that choice is, and how
    to take it to the tool that you train with. What ran before is not run again.

    Example: layersig advise chats.jsonl --model hub:HuggingFaceTB/SmolLM2-135M --budget 30% --to axolotl
    """
    from layersig.engine.in_process import run
    from layersig.engine.progress import on_stderr
    from layersig.engine.study import Options
    from layersig.exporting.chosen import read_chosen
    from layersig.topics.render import material_of

    rows = read_data(data)
    start = Start(data, model, budget, seeds, heldout or usual_heldout(len(rows.conversations)), search)
    loaded = _written(start, recipe or Path(f"{name_of(data)}.toml"))
    _say_time(loaded, runs, offline=offline)
    outcome = run(loaded, Options(runs, offline=offline), on_stderr())
    if outcome.status == "failed":
        raise StageFailed("\n  ".join(["the study failed, so there is no advice", *outcome.failures]))
    material = material_of(outcome.folder.path)
    base = loadable_base(outcome.folder, offline=offline)
    found = read_chosen(outcome.folder.path, _ARM, base, data=loaded.recipe.data[0].name)
    surer = _surer(start, loaded.path, runs)
    lines = list(_answer(material, found, loaded, surer, str(outcome.folder.name)))
    kept = _keep(found, tool, loaded.path) if tool is not None else None
    emit(
        {
            "recipe": str(loaded.path),
            "run": str(outcome.folder.path),
            "layers": [layer.name for layer in found.layers],
            "configuration": None if kept is None else str(kept),
            "answer": "\n".join(lines),
        },
        as_json=as_json,
        text="\n".join(lines),
    )
    return 0


def _written(start: Start, target: Path) -> LoadedRecipe:
    """The recipe, written to `target`.

    Raises:
        UserError: The target holds another file, or the recipe would not be valid.
    """
    from layersig.recipe.load import load
    from layersig.store.files import write_atomic

    before = target.read_text(encoding="utf-8") if target.is_file() else None
    if target.exists() and not (before or "").startswith(_MARK):
        raise UserError(f"{target} exists already, and `layersig advise` did not write it; give another name with -o")
    if not target.parent.is_dir():
        raise UserError(f"there is no folder {target.parent}")
    write_atomic(target, _MARK + first_recipe(start, target))
    try:
        return load(target)
    except UserError:
        target.unlink()
        if before is not None:
            write_atomic(target, before)
        raise


def _say_time(loaded: LoadedRecipe, runs: Path, *, offline: bool) -> None:
    """Fetch what the recipe needs, and say how long it will take on this machine."""
    from layersig.engine.sources import fetch_all
    from layersig.planning import Options, plan
    from layersig.planning.text import total_time

    def warn(message: str) -> None:
        click.echo(f"warning: {message}", err=True)

    if not offline:
        fetch_all(loaded, warn)
    found = plan(loaded, Options(runs), warn)
    for message in found.warnings:
        warn(message)
    left = found.totals.stages - found.totals.cached
    click.echo(f"{loaded.path}: {left} of {found.totals.stages} stages to run, {total_time(found)}", err=True)


def _keep(chosen: Chosen, tool: str, recipe: Path) -> Path:
    from layersig.exporting.formats import WRITERS
    from layersig.store.files import write_atomic

    written = WRITERS[tool](chosen)
    target = recipe.with_name(f"{recipe.stem}-{written.name}")
    write_atomic(target, written.text)
    click.echo(f"{target}: the layers for {tool}", err=True)
    return target


def _answer(material: Material, chosen: Chosen, loaded: LoadedRecipe, surer: Iterable[str], run: str) -> Iterator[str]:
    from layersig.topics.brief import brief

    yield from _advice(material, chosen, loaded.recipe.data[0].name)
    yield from _by_type(chosen)
    yield ""
    yield "How sure is the choice?"
    yield from (f"- {said}" for said in (*chosen.notes, *_sureness(material)))
    yield ""
    yield "What does tuning only these keep?"
    yield brief(material)
    yield ""
    yield "To be surer:"
    yield from (f"  {line}" for line in surer)
    yield ""
    yield "Take it with you:"
    yield f"  layersig export {run} {_ARM} --to names       # or: {', '.join(TOOLS[1:])}"
    yield f"  layersig export {run} {_ARM} FOLDER --seed 0  # a merged checkpoint; with --to peft the adapter"
    yield f"  layersig open {run}"
    yield f"The recipe is {loaded.path}."


def _advice(material: Material, chosen: Chosen, data: str) -> Iterator[str]:
    """What the verdicts of the report recommend."""
    from layersig.analysis.verdicts import Verdict

    def verdict(role: str) -> Verdict:
        measure = material.own_measure(data)
        row = None if measure is None else material.comparison(measure, _ARM, data, role)
        return Verdict.UNDECIDED if row is None or row.verdict is None else Verdict(row.verdict)

    count = f"{len(chosen.layers)} of {len(chosen.of)} layers"
    baseline = verdict("baseline")
    if baseline is Verdict.NO_ASSAY:
        yield "Tuning all layers is not shown to gain anything here, so no choice can be judged."
        yield f"The highest-scoring are these {count}:"
    elif baseline.worse and baseline is not Verdict.WORSE_WITHIN_MARGIN:
        rate = "" if _rates(material, _ARM) else " at this learning rate"
        yield f"Tuning all layers is better here{rate}. If you cannot, tune these {count}:"
    else:
        yield f"Tune these {count}:"
    shown = "shown" if verdict("random control").better else "not shown"
    yield f"({shown} to be better than random layers of the same types)"
    if rates := _rates(material, _ARM):
        yield f"Learning rate that was best for them: {rates}; for all layers: {_rates(material, 'all-layers')}"


def _rates(material: Material, arm: str) -> str:
    """The learning rates that were best for an arm, and in how many of its runs; nothing where none was searched."""
    from layersig.topics.tuning_cost.rows import TRIALS

    best = Counter(row.learning_rate for row in material.findings[TRIALS] if row.arm == arm and row.chosen)
    return ", ".join(f"{rate:g} ({count} of {best.total()})" for rate, count in sorted(best.items()))


def _by_type(chosen: Chosen) -> Iterator[str]:
    """The blocks of every module type that are chosen."""
    of_type: dict[str, list[int | None]] = {}
    for layer in chosen.layers:
        of_type.setdefault(layer.kind, []).append(layer.block)
    width = max(map(len, of_type))
    for kind, blocks in of_type.items():
        numbers = [block for block in blocks if block is not None]
        total = sum(layer.kind == kind for layer in chosen.of)
        yield f"  {kind:{width}}  {len(blocks):3} of {total:3}  blocks {_ranges(numbers)}".rstrip()


def _ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as `0-3, 7`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def _sureness(material: Material) -> Iterator[str]:
    """The sentences of the report on the ranking, and on the arm against its controls."""
    from layersig.findings.rows.layers import SELECTIONS
    from layersig.report.material import rows_of
    from layersig.topics.ceilings.rows import CEILINGS, TOP_SETS

    k = next(round(row.layers) for row in material.findings[SELECTIONS] if row.arm == _ARM)
    for ranking in material.lead:
        yield from (row.sentence for row in rows_of(ranking, material.findings[CEILINGS]) if row.k == k)
        yield from (row.sentence for row in rows_of(ranking, material.findings[TOP_SETS]) if row.k == k)
        measure = material.own_measure(ranking.data)
        if measure is not None:
            rows = (material.comparison(measure, _ARM, ranking.data, role) for role in ("baseline", "random control"))
            yield from (row.sentence for row in rows if row is not None and row.sentence is not None)


def _surer(start: Start, recipe: Path, runs: Path) -> Iterator[str]:
    """What makes the answer surer; the commands repeat nothing that has run."""
    again = ["layersig", "advise", str(start.data), "--model", start.model, "--budget", f"{100 * start.fraction:g}%"]
    again += ["--heldout", str(start.heldout)]
    again += [] if recipe == Path(f"{name_of(start.data)}.toml") else ["-o", str(recipe)]
    again += [] if runs == Path("runs") else ["--runs", str(runs)]
    more = _MORE_SEEDS if start.seeds < _MORE_SEEDS else 2 * start.seeds
    longer = shlex.join([*again, "--seeds", str(more), *(["--search"] if start.search else [])])
    yield f"{longer}  # runs {more - start.seeds} more of every training"
    if not start.search:
        searching = shlex.join([*again, "--seeds", str(start.seeds), "--search"])
        yield f"{searching}  # the best of three learning rates for every arm"
    yield (
        f"more rows in {start.data.name}, and a larger --heldout than {start.heldout}: differences between arms are "
        "measured on held-out conversations"
    )
