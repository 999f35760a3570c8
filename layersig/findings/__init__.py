"""From the files of a run to `analysis.json`: which rankings and arms are compared with which, by `layersig.analysis`.

`analyse` reads a run folder, complete or not, and writes everything that a report may say. It computes no statistics
itself and knows no layout; `rows` is the schema of its result.
"""

from __future__ import annotations

from pathlib import Path

from layersig.errors import UserError
from layersig.findings.arms import Arms
from layersig.findings.block_sweeps import block_retention_rows, block_rows, block_sweeps
from layersig.findings.bridge import bridge_block_rows, bridge_notes, bridge_pairs, bridge_rows
from layersig.findings.carried import carried_rows
from layersig.findings.ceilings import ceiling_rows
from layersig.findings.claims import arm_rank_rows, every_task_rows
from layersig.findings.compute import compute_rows, inference_rows
from layersig.findings.conclusions import conclusions
from layersig.findings.controls import control_set_rows
from layersig.findings.corpus import corpus_notes, corpus_tables
from layersig.findings.corpus_rows import corpus_results, corpus_seed_results
from layersig.findings.dependence import data_property_rows, dependence_rows
from layersig.findings.estimators import (
    estimator_rows,
    matrix_rows,
    residual_test_notes,
    residual_test_rows,
)
from layersig.findings.failures import failure_rows
from layersig.findings.files import RunFiles
from layersig.findings.forms import AnalysisForm
from layersig.findings.grid import grid_of
from layersig.findings.incidents import incident_rows
from layersig.findings.judge_pairs import pair_rows, position_rows
from layersig.findings.judge_records import JudgeRecords
from layersig.findings.judged import judge_rows, judged_rows, noise_rows
from layersig.findings.lead import primary_scorers
from layersig.findings.leaks import leak_notes, shot_notes
from layersig.findings.limitations import limitation_rows
from layersig.findings.looks import look_sentence
from layersig.findings.memorisation import memorisation_rows
from layersig.findings.milestones import milestone_rows, successive_rows, training_rows
from layersig.findings.outcomes import OutcomeTables, outcome_tables
from layersig.findings.overlap_tests import overlap_test_rows
from layersig.findings.overlaps import agreement_rows, overlap_rows
from layersig.findings.own_responses import own_responses_rows
from layersig.findings.plan import Plan
from layersig.findings.rank_sets import rank_set_rows, top_set_rows
from layersig.findings.rankings import (
    concentration_rows,
    layer_rows,
    ranked_layer_rows,
    ranking_row,
    score_tables,
    selected_layer_rows,
    selection_rows,
)
from layersig.findings.recovery import recovery_rows
from layersig.findings.removal import removal_rows
from layersig.findings.replicates import replicates
from layersig.findings.retention import class_rows, gap_rows, retention_rows
from layersig.findings.rigor import rigor_rows
from layersig.findings.rows import SCHEMA_VERSION, Findings
from layersig.findings.samples import samples
from layersig.findings.sharing import sharing_rows
from layersig.findings.stability import checkpoint_rows, component_rows, stability_rows
from layersig.findings.training import cost_rows, cost_sum_rows, loss_rows
from layersig.findings.tuning import trial_rows, tuning_cost_rows
from layersig.findings.written import error_rows, probe_rows, written
from layersig.layers import Unit
from layersig.recipe.schema import RESERVED_ARMS, Recipe
from layersig.records import read_json
from layersig.store.files import write_atomic

__all__ = ["Findings", "analyse", "load"]

_PAPER_FRACTIONS = (0.30, 0.75)


def analyse(run: Path, recipe: Recipe, status: str | None = None) -> Findings:
    """Compare everything in a run folder that can be compared, and write `analysis.json` there.

    Args:
        run: The run folder; what a failed run lacks is left out and told in `notes`.
        recipe: The resolved recipe of the run.
        status: What became of the run; None for what its manifest says.

    Returns:
        What was written.

    Raises:
        UserError: The folder is no run.
    """
    files = RunFiles(run)
    manifest = files.manifest
    unit = _unit(files, recipe)
    groups = files.groups(unit)
    units = layer_rows(groups)
    tables = score_tables([s for s in files.rankings if s.ranking.unit is unit], groups, recipe) if groups else ()
    grid, runs = grid_of(units), replicates(tables, recipe)
    sizes = _sizes(files, unit)
    sampled = samples(recipe)
    rank_sets = rank_set_rows(tables, units, recipe.analyze.alpha)
    order = {name: place for place, name in enumerate([*RESERVED_ARMS, *(arm.name for arm in recipe.arms)])}
    plan = Plan.of(recipe, files)
    shown = [s for s in files.selections if s.cell.arm not in plan.further_controls]
    selections = sorted(shown, key=lambda s: (s.cell.data or "", order.get(s.cell.arm or "", len(order))))
    outcomes = outcome_tables(files.evaluations(), files.directions, _stratified(files, recipe))
    corpus = corpus_tables(files.corpus(), files.directions)
    arms = Arms(outcomes, recipe, plan, files.model, corpus)
    judged = JudgeRecords(files)
    costs = cost_rows(manifest)
    bridged = bridge_pairs(files.rankings, files.layers, recipe)
    rows = selection_rows(selections, files.layers, recipe) if files.layers else ()
    kept = retention_rows(arms, files.floors, files.task_records)
    texts = written(files)
    concluded = conclusions(arms)
    swept = block_sweeps(files, _stratified(files, recipe))
    kept_by_block, kept_by_block_on_average = block_retention_rows(swept, recipe, files.model)
    kept_by_format = class_rows(arms, kept)
    counts, failures = failure_rows(files, outcomes, recipe.root_seed)
    findings = Findings(
        schema_version=SCHEMA_VERSION,
        name=manifest["name"],
        id=manifest["id"],
        status=status or manifest["status"],
        smoke=manifest["smoke"],
        model=files.model,
        unit=unit.value,
        baseline=recipe.analyze.baseline,
        alpha=recipe.analyze.alpha,
        primary_arms=plan.primary,
        primary_scorers=primary_scorers(recipe),
        other_declarations=plan.other_declarations,
        further_controls=tuple(sorted(plan.further_controls)),
        looks=look_sentence(manifest["seeds"], manifest.get("looks", []), recipe.analyze.alpha),
        sizes=sizes,
        notes=_notes(files, recipe)
        + _unit_notes(files, unit)
        + residual_test_notes(tables, grid)
        + bridge_notes(files.layers, recipe)
        + leak_notes(recipe)
        + tuple(shot_notes(files.task_records))
        + outcomes.notes
        + corpus.tables.notes
        + tuple(corpus_notes(corpus))
        + concluded.sweeps.notes()
        + _unrated(outcomes)
        + _idle_margins(plan, outcomes),
        layers=layer_rows(files.groups(Unit.MODULE)),
        units=units,
        rankings=tuple(map(ranking_row, tables)),
        ranked_layers=tuple(row for table in tables for row in ranked_layer_rows(table, units)),
        concentration=tuple(
            row for table in tables if not table.control for k in sizes for row in concentration_rows(table, units, k)
        ),
        selections=rows,
        selected_layers=selected_layer_rows(selections, files.layers) if files.layers else (),
        overlaps=overlap_rows(tables, units, sizes, sampled, recipe.root_seed),
        agreement=agreement_rows(tables, units, sampled),
        ceilings=ceiling_rows(tables, sizes, grid, arms.level, recipe.analyze.alpha),
        rank_sets=rank_sets,
        top_sets=top_set_rows(rank_sets, tables, sizes),
        stability=tuple(row for found in runs for row in stability_rows(found, sizes, grid, arms.level)),
        sharing=sharing_rows(runs, sizes, files.model, recipe),
        components=tuple(row for found in runs for row in component_rows(found, grid, arms.level)),
        data_properties=tuple(data_property_rows(files)),
        dependence=dependence_rows(runs, sizes, files, recipe),
        checkpoints=tuple(checkpoint_rows(tables, sizes, recipe)),
        estimators=tuple(estimator_rows(tables, arms.level)),
        jaccard_matrix=tuple(matrix_rows(tables, sizes, recipe, arms.level)),
        overlap_tests=overlap_test_rows(tables, sizes, grid, recipe),
        residual_tests=residual_test_rows(tables, grid, recipe, arms.level),
        bridge=tuple(bridge_rows(bridged, recipe)),
        bridge_blocks=tuple(bridge_block_rows(bridged)),
        results=(*arms.results(), *corpus_results(arms)),
        seed_results=(*arms.seed_results(), *corpus_seed_results(arms)),
        comparisons=concluded.comparisons,
        assays=tuple(arms.assays()),
        seed_differences=tuple(arms.seed_differences()),
        shares=tuple(arms.shares()),
        carried=tuple(carried_rows(arms)),
        sweeps=concluded.curves,
        sweep_points=tuple(concluded.sweeps.point_rows()),
        incidents=tuple(incident_rows(files)),
        retention=kept,
        retention_classes=kept_by_format,
        retention_gaps=gap_rows(arms, kept),
        removal=tuple(removal_rows(arms, kept, kept_by_format, shown, files.layers)),
        recovery=tuple(recovery_rows(arms, texts)),
        own_responses=tuple(own_responses_rows(arms, shown)),
        failure_counts=counts,
        failures=failures,
        blocks=tuple(block_rows(swept, recipe)),
        block_retention=kept_by_block,
        block_means=kept_by_block_on_average,
        probes=tuple(probe_rows(texts, arms.level)),
        code_errors=tuple(error_rows(texts)),
        control_sets=tuple(control_set_rows(arms)),
        claims=concluded.claims,
        every_task=tuple(every_task_rows(arms, concluded.claims)),
        arm_ranks=tuple(arm_rank_rows(arms)),
        judges=tuple(judge_rows(files)),
        judged=tuple(judged_rows(judged, arms)),
        judge_noise=tuple(noise_rows(judged, arms)),
        judge_pairs=tuple(pair_rows(judged, arms)),
        judge_positions=tuple(position_rows(judged, arms)),
        losses=loss_rows(files.losses(), recipe, files.label),
        memorisation=memorisation_rows(files, recipe.analyze.alpha),
        rigor=(),
        trials=trial_rows(files),
        tuning_costs=tuning_cost_rows(manifest, rows, recipe, files.label),
        trainings=tuple(training_rows(files)),
        successive=tuple(successive_rows(tables, sizes, recipe)),
        milestones=milestone_rows(tables, sizes, recipe),
        costs=costs,
        cost_sums=cost_sum_rows(costs),
        compute=tuple(compute_rows(manifest)),
        inference=inference_rows(manifest),
    )
    findings = findings.model_copy(update={"limitations": tuple(limitation_rows(findings, files, recipe))})
    findings = findings.model_copy(update={"rigor": rigor_rows(findings, files, recipe)})
    write_atomic(run / "analysis.json", findings.to_json())
    return findings


def load(run: Path) -> Findings:
    """Read `analysis.json` back.

    Raises:
        UserError: The run was not analysed, or by another version of the schema.
    """
    path = run / "analysis.json"
    if not path.is_file():
        raise UserError(f"{run} holds no analysis.json; `layersig run` writes it at the end of a run")
    version = read_json(path, AnalysisForm)["schema_version"]
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path} has schema version {version}; this version of layersig reads "
            f"{SCHEMA_VERSION}. `layersig run` on the same recipe writes it again from the run's files"
        )
    return read_json(path, Findings)


def _unit(files: RunFiles, recipe: Recipe) -> Unit:
    """What the tables are about: the recipe's unit, unless all its scorers have one of their own."""
    units = [scored.ranking.unit for scored in files.rankings]
    own = Unit(recipe.layers.unit)
    return own if own in units or not units else units[0]


def _unit_notes(files: RunFiles, unit: Unit) -> tuple[str, ...]:
    """A sentence on the rankings that the tables leave out, since they are about something else."""
    others = {scored.cell.scorer or "": scored.ranking.unit for scored in files.rankings}
    return tuple(
        f"Scorer {name} ranks by {other} and the tables of scores by {unit}, so its ranking is in scores.jsonl alone; "
        f'with layers.unit = "{other}" all stand beside each other.'
        for name, other in sorted(others.items())
        if other is not unit
    )


def _sizes(files: RunFiles, unit: Unit) -> tuple[int, ...]:
    """The numbers of units that the arms select; the paper's fractions when no arm selects some of them."""
    groups = files.groups(unit)
    sizes = set()
    for selected in files.selections:
        chosen = set(selected.selection.layers)
        sizes.add(sum(all(layer.name in chosen for layer in group.members) for group in groups))
    proper = {size for size in sizes if 0 < size < len(groups)}
    return tuple(sorted(proper or {round(fraction * len(groups)) for fraction in _PAPER_FRACTIONS} - {0}))


def _stratified(files: RunFiles, recipe: Recipe) -> frozenset[str]:
    """Pooled tasks whose parts are fixed: the claim is about these subjects and no others."""
    pooled = (name for name, record in files.task_records.items() if record.get("strata"))
    return frozenset(pooled) if recipe.analyze.parts == "fixed" else frozenset()


def _unrated(outcomes: OutcomeTables) -> tuple[str, ...]:
    return tuple(
        f"{measure.task}: {count} turns have no valid grade in some arm or seed, and are left out of all of them."
        for measure, count in outcomes.unrated.items()
        if count
    )


def _idle_margins(plan: Plan, outcomes: OutcomeTables) -> tuple[str, ...]:
    """A sentence on margins that nothing uses; none before anything was measured."""
    names = ", ".join(sorted({measure.metric for measure in outcomes.values}))
    return tuple(
        f"analyze.margins gives one for {name}, which no task reported; measured were: {names}."
        for name in plan.idle_margins(outcomes.values)
        if names
    )


def _notes(files: RunFiles, recipe: Recipe) -> tuple[str, ...]:
    notes = []
    if files.layers is None:
        notes.append("The layers of the model are not recorded: no stage got as far as loading it.")
    if recipe.scorers and not files.rankings:
        notes.append("The run holds no ranking, although the recipe names scorers.")
    if recipe.arms and not files.selections:
        notes.append("The run holds no selection, although the recipe names arms.")
    stages = files.manifest["stages"]
    notes += [f"{stage['id']} failed: {stage['error']}" for stage in stages if "error" in stage]
    broken = [stage["id"] for stage in stages if stage["status"] != "done"]
    if broken:
        notes.append(f"Stages without a result: {', '.join(broken)}.")
    return tuple(notes)
