"""What the manifest of a run says of the run itself, apart from its stages."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from layersig.docstrings import first_sentence
from layersig.engine.sources import PinnedSource
from layersig.errors import first_few
from layersig.findings.unfinished import causes
from layersig.jsonform import Damaged
from layersig.pipeline import Graph, measures_arm
from layersig.recipe.load import LoadedRecipe
from layersig.recipe.schema import Recipe
from layersig.sources.source import Source
from layersig.store.looks import Looks
from layersig.store.planned_costs import PlannedCosts
from layersig.store.plans import Plans
from layersig.store.provenance import machine, packages, versions
from layersig.store.runfolder import ManifestForm


def opening(
    loaded: LoadedRecipe, graph: Graph, sources: Mapping[str, Source], earlier: ManifestForm | None, warnings: list[str]
) -> dict[str, Any]:
    """The manifest of a run that begins."""
    recipe = loaded.recipe
    return {
        "name": recipe.name,
        "id": loaded.id,
        "status": "running",
        "started": now() if earlier is None else earlier["started"],
        "argv": sys.argv[1:],
        "smoke": loaded.smoke,
        "versions": versions(),
        "packages": packages(),
        "machine": machine(),
        "root_seed": recipe.root_seed,
        "seeds": list(recipe.seeds),
        "sources": [_source_record(node, graph, source) for node, source in sources.items()],
        "scorers": _about_scorers(loaded),
        "warnings": warnings,
        **({"skipped": list(loaded.skipped)} if loaded.skipped else {}),
    }


def other_content(earlier: ManifestForm | None, sources: Mapping[str, Source]) -> Iterator[str]:
    """Sources that hold other content than when the run was computed, so that its results are replaced."""
    before = {each["node"]: each["digest"] for each in earlier["sources"]} if earlier is not None else {}
    for node, source in sources.items():
        if before.get(node) not in (None, source.digest):
            yield f"{source.label} holds other content than when this run was computed; its results are replaced"


def _about_scorers(loaded: LoadedRecipe) -> dict[str, str]:
    """What every kind of scorer in the recipe says of itself: the report must not depend on what is installed later."""
    kinds = sorted({choice.kind for choice in loaded.recipe.scorers.values()})
    return {kind: first_sentence(loaded.components.get("scorer", kind).summary) for kind in kinds}


def _source_record(node: str, graph: Graph, source: Source) -> dict[str, Any]:
    return {
        "node": node,
        "role": source.kind,
        "name": graph.sources[node].name,
        "spec": source.spec,
        "resolved": source.resolved,
        "label": source.label,
        "fallback": source.fallback,
        "revision": source.revision,
        "digest": source.digest,
        "licence": source.licence,
        "notes": list(source.notes),
    }


def what_report_shows(manifest: Mapping[str, Any] | None) -> Any:
    """What a report depends on: equal values make an equal report, but for what was cached."""
    if manifest is None:
        return None
    stages = [(stage.get("fingerprint"), stage.get("declared")) for stage in manifest["stages"]]
    before = manifest.get("looks", []), manifest.get("plan"), manifest.get("planned_costs")
    said = manifest["versions"], manifest.get("packages"), manifest.get("scorers")
    return manifest["status"], *said, stages, before


def pinned(earlier: ManifestForm | None) -> Mapping[str, PinnedSource]:
    """What the last start resolved the sources to."""
    return {
        record["node"]: PinnedSource(record["resolved"], record["label"], record["fallback"], tuple(record["notes"]))
        for record in (earlier["sources"] if earlier else ())
    }


def final_status(sources: Mapping[str, Source], complete: bool) -> str:
    """How a run ended."""
    fell_back = any(source.fallback for source in sources.values())
    return ("complete-on-fallback" if fell_back else "complete") if complete else "failed"


def failures(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """What failed and where, one sentence a cause."""
    return tuple(f"{first_few(ids, 1)}: {error}" for error, ids in causes(manifest["stages"]).items())


def looks_before(
    looks: Looks, recipe: Recipe, earlier: ManifestForm | None, warn: Callable[[str], None]
) -> list[list[int]]:
    """The seeds of the looks before this one; a record that cannot be read counts for what the run itself kept."""
    try:
        return [list(look) for look in looks.before(recipe.seeds)]
    except Damaged as error:
        warn(f"{error}; whether results were analysed with other seeds before is not known")
        return [] if earlier is None else earlier.get("looks", [])


def plan_on_record(
    plans: Plans, loaded: LoadedRecipe, earlier: ManifestForm | None, warn: Callable[[str], None]
) -> dict[str, Any]:
    """What the run was planned to detect: the plan on record, or the kept one once an outcome is measured."""
    done = () if earlier is None else [stage for stage in earlier["stages"] if stage["status"] == "done"]
    if earlier is not None and any(measures_arm(stage["kind"], stage["cell"].get("arm")) for stage in done):
        plan = earlier.get("plan")
    else:
        try:
            plan = plans.get(loaded.id)
        except Damaged as error:
            warn(f"{error}; what the run was planned to detect is not known")
            plan = None
    return {} if plan is None else {"plan": plan}


def planned_costs(
    record: PlannedCosts, loaded: LoadedRecipe, earlier: ManifestForm | None, warn: Callable[[str], None]
) -> dict[str, Any]:
    """What the run was expected to cost; a record that cannot be read counts for what the run itself kept."""
    try:
        found = record.get(loaded.id)
    except Damaged as error:
        warn(f"{error}; what the run was expected to cost is not known")
        found = None
    if found is None and earlier is not None:
        found = earlier.get("planned_costs")
    return {} if found is None else {"planned_costs": found}


def now() -> str:
    """The time, to the second."""
    return dt.datetime.now(dt.UTC).replace(microsecond=0).isoformat()
