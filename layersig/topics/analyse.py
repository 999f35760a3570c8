"""From the files of a run to `analysis.json`: every topic computes its tables.

`analyse` reads a run folder, complete or not, and writes everything that a report may say.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from layersig.findings import tables
from layersig.findings.evidence import Evidence
from layersig.findings.files import RunFiles
from layersig.findings.lead import primary_scorers
from layersig.findings.looks import as_declared, look_sentence
from layersig.findings.tables import SCHEMA_VERSION, Findings
from layersig.plugin.guard import cause, raises_plugin_errors
from layersig.plugin.trace import traced
from layersig.recipe.schema import Recipe
from layersig.report.topic import Result, Topic
from layersig.store.files import write_atomic
from layersig.topics.registry import all_topics, computing_order


def analyse(run: Path, recipe: Recipe, status: str | None = None) -> Findings:
    """Compare everything in a run folder that can be compared, and write `analysis.json` there.

    Args:
        run: The run folder; `notes` say what a failed run lacks.
        recipe: The resolved recipe of the run.
        status: What became of the run; None for what its manifest says.

    Returns:
        What was written.

    Raises:
        UserError: The folder is no run.
    """
    evidence = Evidence(RunFiles(run), recipe)
    topics, problems = all_topics()
    head = _head(evidence, status)
    found: dict[str, Result] = {}
    for topic in computing_order(topics):
        found[topic.name] = _result(topic, evidence, _joined(head, found.values()))
    findings = _joined(head, [found[topic.name] for topic in topics]).with_rows({}, problems)
    write_atomic(run / "analysis.json", findings.to_json())
    return findings


def load(run: Path) -> Findings:
    """Read `analysis.json` back.

    Raises:
        UserError: The run was not analysed, or by another version of the schema.
    """
    return tables.load(run, [table for topic in all_topics()[0] for table in topic.tables])


def _joined(head: Findings, results: Iterable[Result]) -> Findings:
    findings = head
    for result in results:
        findings = findings.with_rows(result.rows, result.notes)
    return findings


def _result(topic: Topic, evidence: Evidence, findings: Findings) -> Result:
    """What a topic found; of a plugin's that fails, a note in its place."""
    if topic.compute is None:
        return Result()
    try:
        work = partial(topic.compute, evidence, findings.only(topic.reads))
        result = work() if topic.plugin is None else traced(f"{topic.label}: compute", work)
        rows = {table: tuple(result.rows[table]) for table in topic.tables}
        return Result(rows, tuple(result.notes))
    except Exception as error:
        if topic.plugin is None or raises_plugin_errors():
            raise
        return Result(notes=(f"{topic.label} is left out: {cause(error, topic.compute.__module__)}",))


def _head(evidence: Evidence, status: str | None) -> Findings:
    files, recipe, plan = evidence.files, evidence.recipe, evidence.plan
    manifest = files.manifest
    return Findings(
        schema_version=SCHEMA_VERSION,
        name=manifest["name"],
        id=manifest["id"],
        status=status or manifest["status"],
        smoke=manifest["smoke"],
        model=files.model,
        unit=evidence.unit.value,
        baseline=recipe.analyze.baseline,
        alpha=recipe.analyze.alpha,
        primary_arms=plan.primary,
        primary_scorers=primary_scorers(recipe),
        other_declarations=plan.other_declarations,
        further_controls=tuple(sorted(plan.further_controls)),
        looks=_undeclared_looks(evidence),
        sizes=evidence.sizes,
        notes=tuple(evidence.notes()),
    )


def _undeclared_looks(evidence: Evidence) -> str | None:
    """A sentence on earlier looks that the recipe does not declare, or declares only now."""
    manifest, analyze = evidence.files.manifest, evidence.recipe.analyze
    seeds, before = manifest["seeds"], manifest.get("looks", [])
    if as_declared(analyze.looks, seeds, before) and evidence.plan.declared_throughout:
        return None
    return look_sentence(seeds, before, analyze.alpha)
