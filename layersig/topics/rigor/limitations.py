"""Limits of what a run shows, and threats to its validity, written from its records: a sentence and a figure each."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from layersig.findings.files import HELDOUT, RunFiles, model_name
from layersig.findings.leakage import leaking
from layersig.findings.rows.arms import ASSAYS, COMPARISONS, RESULTS
from layersig.findings.rows.layers import RANKINGS
from layersig.findings.tables import Findings
from layersig.recipe.schema import Recipe
from layersig.topics.ceilings.rows import CEILINGS
from layersig.topics.cost.rows import COMPUTE
from layersig.topics.incidents.rows import INCIDENTS
from layersig.topics.judge.rows import JUDGES
from layersig.topics.memorisation.rows import MEMORISATION
from layersig.topics.rigor import arms
from layersig.topics.rigor.benchmark_dates import published
from layersig.topics.rigor.demand import Records, span
from layersig.topics.rigor.rankings import LEAST_SEEDS
from layersig.topics.rigor.rows import LimitationRow

_LONG = "13"
_FEW_DATA_SETS = 2


def limitation_rows(findings: Findings, files: RunFiles, recipe: Recipe) -> Iterator[LimitationRow]:
    """Every limitation and threat that the records know of, the widest first.

    Args:
        findings: Everything else that was found.
        files: The run's own records.
        recipe: What was declared.
    """
    run = Records(findings, files, recipe)
    for topic, sentences in _LIMITATIONS.items():
        for sentence in sentences(run):
            yield LimitationRow(kind="limitation", topic=topic, sentence=sentence)
    for topic, sentences in _THREATS.items():
        for sentence in sentences(run):
            yield LimitationRow(kind="threat", topic=topic, sentence=sentence)


def _model(run: Records) -> Iterator[str]:
    if any(run.findings[table] for table in (RANKINGS, RESULTS)):
        name = model_name(run.findings.model)
        yield f"One model was studied, {name}; nothing here is about another, or another size."


def _data(run: Records) -> Iterator[str]:
    names = [run.files.label(each.name) or each.name for each in run.recipe.data]
    if len(names) < _FEW_DATA_SETS:
        yield f"One data set was tuned on, {names[0]}; whether another gives the same result is not known."
    else:
        yield (
            f"{len(names)} data sets were tuned on ({', '.join(names)}), chosen and not sampled: they stand for "
            "themselves."
        )


def _training_runs(run: Records) -> Iterator[str]:
    runs = [row.seeds for row in arms.claims(run)]
    if runs and max(runs) == 1:
        yield (
            "There is one training run per arm (S = 1): results are about these checkpoints, and how far another seed "
            "would move them is not known."
        )
    elif runs and min(runs) < LEAST_SEEDS:
        yield (
            f"There are S = {span(runs)} training runs per arm: with fewer than {LEAST_SEEDS}, intervals rest on few "
            "degrees of freedom and are wide, and no bootstrap over runs checks them."
        )


def _rankings(run: Records) -> Iterator[str]:
    rows = [row for row in run.findings[CEILINGS] if row.above_chance is not True and row.seeds]
    for name, seeds in dict.fromkeys(((row.scorer, row.data), row.seeds) for row in rows):
        scorer, data = name
        sizes = [row for row in rows if (row.scorer, row.data) == name]
        where = f"{scorer} on {data}" if data else scorer
        tops = ", ".join([f"{row.k} of {row.of}" for row in sizes])
        if all(row.above_chance is None for row in sizes):
            yield (
                f"Whether another seed would rank the layers as {where} does is not known from {_seeds(seeds)} (top "
                f"{tops})."
            )
        else:
            yield (
                f"The {seeds} seeds of {where} are not shown to agree above chance (top {tops}): its layers may be "
                "noise."
            )


def _seeds(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"


def _items(run: Records) -> Iterator[str]:
    worst: dict[str, tuple[float, float, int]] = {}
    for row in arms.claims(run):
        if row.margin is not None and row.detectable is not None and row.detectable > row.margin:
            found = (row.detectable, row.margin, row.n)
            worst[row.task] = max(worst.get(row.task, found), found)
    for task, (detectable, margin, n) in worst.items():
        yield (
            f"On {task}, n = {n} items detect a difference of {detectable:.3g} with 80 % power in the least precise "
            f"comparison, and the margin is {margin:g}: that no difference is shown does not mean that there is none."
        )


def _samples(run: Records) -> Iterator[str]:
    for task in run.benchmarks:
        record = run.files.task_records[task]
        n, rows = record.get("n"), record.get("rows")
        if n is not None and rows is not None and n < rows:
            yield f"Of {task}, {n} of {rows} items were evaluated, a seeded sample."


def _cannot_tell(run: Records) -> Iterator[str]:
    for row in run.findings[ASSAYS]:
        if row.primary and row.low <= row.margin:
            yield (
                f"On {row.task}, tuning all layers on {row.data} is not shown to gain more than the margin "
                f"({row.gain:+.3g}, at least {row.low:+.3g}; margin {row.margin:g}): it cannot tell which layers "
                "suffice."
            )


def _exploratory(run: Records) -> Iterator[str]:
    rows = arms.claims(run)
    exploratory = sum(not row.declared for row in rows)
    if exploratory:
        yield f"{exploratory} of {len(rows)} comparisons are exploratory: they were not declared before the run."


def _precision(run: Records) -> Iterator[str]:
    if run.recipe.model.quantization != "none":
        yield (
            f"The base weights were held in 4 bits ({run.recipe.model.quantization}); at full precision layers may "
            "differ."
        )
    for source in run.files.manifest["sources"]:
        if source["role"] == "model":
            yield from (f"Of the model: {note.rstrip('.')}." for note in source["notes"])


def _machine(run: Records) -> Iterator[str]:
    if run.findings[COMPUTE]:
        yield (
            "Times were measured once, on one machine, beside whatever else it did: they show orders of magnitude "
            f"({sum(row.hours for row in run.findings[COMPUTE]):.3g} hours in all)."
        )


def _smoke(run: Records) -> Iterator[str]:
    if run.findings.smoke:
        yield "This is a smoke run of 2 steps a training and 4 items a task: its numbers mean nothing."


def _missing(run: Records) -> Iterator[str]:
    stages = run.files.manifest["stages"]
    broken = [stage["id"] for stage in stages if stage["status"] != "done"]
    if broken:
        named = ", ".join(broken[:5]) + (" ..." if broken[5:] else "")
        yield f"{len(broken)} of {len(stages)} stages have no result: {named}."


def _fallbacks(run: Records) -> Iterator[str]:
    for source in run.files.manifest["sources"]:
        if source.get("fallback"):
            yield (
                f"The {source['role']} {source['spec']} could not be reached; {source['resolved']} was used instead."
            )


def _leaks(run: Records) -> Iterator[str]:
    for scorer, readers in leaking(run.recipe).items():
        yield (
            f"Scorer {scorer} was computed on items that arms are evaluated on: results of "
            f"{', '.join(readers) or 'arms that read it'} are biased upwards."
        )
    for data, tasks in run.files.overlaps.items():
        for task, record in tasks.items():
            found = record["ngrams"][_LONG]
            if found["hits"]:
                what = f"held-out conversations of {data}" if task == HELDOUT else f"items of {task}"
                yield (
                    f"{found['hits']} of {record['items']} {what} share a run of {_LONG} words with the training side "
                    "of "
                    f"{data}: they may be remembered, not understood."
                )


def _cuts(run: Records) -> Iterator[str]:
    for name, report in run.files.data_reports.items():
        side = report.get("train", {})
        cut, count = side.get("truncated", 0), side.get("conversations", 0)
        if cut:
            yield f"{cut} of {count} training conversations of {name} were cut to {report.get('max_tokens')} tokens."
    for row in run.findings[INCIDENTS]:
        for sentence in row.warnings:
            yield f"In {row.task}, {row.arm}{f' on {row.data}' if row.data else ''}: {sentence}."


def _outcome(run: Records) -> Iterator[str]:
    if run.findings[COMPARISONS] and HELDOUT in run.recipe.analyze.outcomes:
        sizes = [row.n for row in run.findings[COMPARISONS] if row.task.startswith(f"{HELDOUT}/")]
        yield (
            f"The declared outcome is a loss on n = {span(sizes)} held-out conversations: it shows how well their text "
            "is "
            "predicted, not how useful an answer is."
        )


def _search(run: Records) -> Iterator[str]:
    if run.recipe.train.search is not None:
        return
    rates = {run.recipe.training_of(arm).learning_rate for arm in run.recipe.arms if arm.trains}
    if rates and run.recipe.evaluate.all_layers:
        rates.add(run.recipe.train.learning_rate)
    if len(rates) == 1:
        (rate,) = rates
        yield (
            f"All arms share the learning rate {rate:g}, which was not searched: it may suit one arm better than "
            "another."
        )
    elif rates:
        yield "The learning rates of the arms differ and were not searched: they may suit one arm better than another."


def _judge(run: Records) -> Iterator[str]:
    for row in run.findings[JUDGES]:
        share = row.invalid / row.verdicts if row.verdicts else 0.0
        yield (
            f"{row.verdicts} {row.what} come from a model, {row.model}, not from people; {share:.1%} of its verdicts "
            "are "
            f"invalid, and each was asked for {row.repeats} times."
        )


def _declarations(run: Records) -> Iterator[str]:
    if others := run.findings.other_declarations:
        yield f"{others} other declarations for this model were on record before this one was measured."


def _pretraining(run: Records) -> Iterator[str]:
    about = run.recipe.about
    dates = {task: published(task, about.published) for task in run.benchmarks}
    if not dates:
        return
    if about.training_cutoff in (None, "unknown"):
        yield (
            f"The date up to which the pretraining data reach is not stated: any of {len(dates)} benchmarks may be in "
            "them."
        )
        return
    before = [
        f"{task} ({date})"
        for task, date in dates.items()
        if date is not None and date[: len(about.training_cutoff)] <= about.training_cutoff
    ]
    if before:
        yield (
            f"{len(before)} of {len(dates)} benchmarks are older than the model's text, which reaches to "
            f"{about.training_cutoff}, and may be in it: {', '.join(before)}."
        )


def _memorisation(run: Records) -> Iterator[str]:
    yield from (row.sentence for row in run.findings[MEMORISATION] if row.seen)


def _generated(run: Records) -> Iterator[str]:
    for name in run.files.generation_reports:
        yield f"The answers of {name} were written by the untouched model: tuning on them teaches nothing new to it."


_Sentences = Callable[[Records], Iterator[str]]
_LIMITATIONS: dict[str, _Sentences] = {
    "smoke run": _smoke,
    "model": _model,
    "data": _data,
    "training runs": _training_runs,
    "rankings": _rankings,
    "items": _items,
    "samples of items": _samples,
    "tasks that cannot tell": _cannot_tell,
    "exploratory": _exploratory,
    "precision of the model": _precision,
    "times": _machine,
}
_THREATS: dict[str, _Sentences] = {
    "missing results": _missing,
    "fallbacks": _fallbacks,
    "leaks": _leaks,
    "pretraining": _pretraining,
    "memorisation": _memorisation,
    "cuts": _cuts,
    "outcome": _outcome,
    "search": _search,
    "judge": _judge,
    "declarations": _declarations,
    "generated data": _generated,
}
