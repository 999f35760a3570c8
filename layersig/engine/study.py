"""A recipe from file to report: resolve, run what is missing, analyse, write."""

from __future__ import annotations

import contextlib
import datetime as dt
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console

from layersig.engine.energy import EnergyMeter, Watts, gpu_power, zones
from layersig.engine.execute import Ended, Executor, numerics
from layersig.engine.header import header
from layersig.engine.preflight import check_sources
from layersig.engine.progress import Display
from layersig.engine.publish import Publisher
from layersig.engine.repeat import keep_inputs
from layersig.engine.sources import PinnedSource, resolve_all
from layersig.engine.task_check import check_tasks
from layersig.errors import UserError
from layersig.findings.rows.arms import RESULTS
from layersig.findings.rows.layers import RANKINGS
from layersig.jsonform import Damaged
from layersig.pipeline import Graph, Stage, declaration, measures_arm, stages, without_seeds
from layersig.recipe.load import LoadedRecipe
from layersig.recipe.schema import Recipe
from layersig.sources.source import Source
from layersig.store.cache import Cache, cache_root
from layersig.store.declarations import Declarations
from layersig.store.files import write_atomic
from layersig.store.looks import Looks
from layersig.store.plans import Plans
from layersig.store.provenance import machine, packages, versions
from layersig.store.runfolder import ManifestForm, RunFolder


@dataclass(frozen=True)
class Options:
    """How to run, as opposed to what.

    Attributes:
        runs: Folder of all runs.
        offline: Reach nothing outside this machine.
        strict: Refuse declared fallbacks.
        reuse: False runs every stage anew.
    """

    runs: Path
    offline: bool = False
    strict: bool = False
    reuse: bool = True


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        folder: The run folder.
        status: `complete`, `complete-on-fallback` or `failed`.
        failures: What failed and where, one sentence a cause.
    """

    folder: RunFolder
    status: str
    failures: tuple[str, ...]


def run(loaded: LoadedRecipe, options: Options, console: Console) -> Outcome:
    """Run a recipe; what its run folder and the cache hold already is kept.

    Raises:
        LayersigError: The input, the machine or the network is in the way; the manifest then says `failed`.
        KeyboardInterrupt: The manifest then says `interrupted`; running again continues.
    """
    recipe = loaded.recipe
    folder = RunFolder(options.runs / recipe.name / loaded.id)
    with _opened(folder, loaded, console) as display:
        warnings: list[str] = []

        def warn(message: str) -> None:
            warnings.append(message)
            display.say(f"warning: {message}")

        for skipped in loaded.skipped:
            display.say(f"warning: {skipped}")
        earlier = folder.earlier(warn)
        cache = Cache(cache_root(), warn)
        graph = stages(recipe, loaded.components)
        display.phase("finding model, data and tasks")
        sources = resolve_all(
            graph, loaded, _pinned(earlier), offline=options.offline, strict=options.strict, warn=warn
        )
        for source in sources.values():
            for note in source.notes:
                display.say(f"note: {source.label}: {note}")
        check_sources(sources, recipe, warn)
        manifest = _opening(loaded, graph, sources, earlier, warnings)
        declarations = Declarations(cache.root).put(declaration(recipe))
        looks = Looks(cache.root, without_seeds(recipe))
        manifest["looks"] = _looks(looks, recipe, earlier, warn)
        manifest |= _plan(Plans(cache.root), loaded, earlier, warn)
        reported = _readable(folder)
        publisher = Publisher(
            folder, graph, manifest, sources["source/model"].label, declarations[0], finished=reported
        )
        resolved = folder.path / "resolved.toml"
        unchanged = resolved.is_file() and resolved.read_bytes() == loaded.resolved.encode()
        _write_recipes(folder, loaded)
        # What an earlier run has kept goes with its records, and is renewed with them, once this one has ended well.
        kept = None if earlier is None else earlier.get("inputs")
        manifest["inputs"] = keep_inputs(folder, loaded, manifest["packages"]) if kept is None else kept
        ask_numerics = _numerics(recipe, manifest)
        executor = Executor(
            cache,
            ask_numerics,
            recipe.root_seed,
            declarations,
            display.stage,
            meter=_meters(recipe),
            reuse=options.reuse,
        )
        try:
            display.phase("looking for finished stages")
            held = executor.held(graph, sources)
            if any(stage.computes for stage in graph.stages):
                ask_numerics()  # for the line below: a stage is about to ask anyway
            display.say(f"· {header(loaded, graph, sources, manifest['machine'], len(held))}")
            display.study(graph.stages, {name: entry.about["seconds"] for name, entry in held.items()})
            complete = executor.run(graph, sources, _Listeners(publisher, display))
            display.phase("analysing and writing the report")
            if complete and kept is not None:
                manifest["inputs"] = keep_inputs(folder, loaded, manifest["packages"])
            manifest["finished"] = _now()
            publisher.finish()
            status = _status(sources, complete)
            if not (
                reported and unchanged and _reported(earlier) == _reported({**publisher.manifest, "status": status})
            ):
                _write_report(folder, loaded, status, looks)
            # Last of all: where the disk is too full for the report, the run must not look complete.
            manifest["status"] = status
            publisher.save()
        except KeyboardInterrupt:
            manifest["status"] = "interrupted"
            publisher.save()
            raise
        except Exception:
            manifest["status"] = "failed"
            with contextlib.suppress(OSError):  # a full disk may be the very reason
                publisher.save()
            raise
        return Outcome(folder, status, _failures(publisher.manifest))


@contextlib.contextmanager
def _opened(folder: RunFolder, loaded: LoadedRecipe, console: Console) -> Iterator[Display]:
    """A display, the tasks checked, and the run folder locked: a recipe that cannot run leaves no folder behind."""
    with Display(console) as display:
        if loaded.recipe.evaluate.tasks:
            display.phase("checking the tasks")
        check_tasks(loaded)
        with folder.lock():
            yield display


class _Listeners:
    """Both the run folder and the terminal are informed of stages, the run folder first."""

    def __init__(self, publisher: Publisher, display: Display) -> None:
        self._publisher = publisher
        self._display = display

    def started(self, stage: Stage, fingerprint: str) -> None:
        """A stage is about to run."""
        self._publisher.started(stage, fingerprint)

    def ended(self, stage: Stage, how: Ended) -> None:
        """A stage has ended."""
        self._publisher.ended(stage, how)
        self._display.ended(stage, how)


def _opening(
    loaded: LoadedRecipe, graph: Graph, sources: Mapping[str, Source], earlier: ManifestForm | None, warnings: list[str]
) -> dict[str, Any]:
    recipe = loaded.recipe
    return {
        "name": recipe.name,
        "id": loaded.id,
        "status": "running",
        "started": _now() if earlier is None else earlier["started"],
        "argv": sys.argv[1:],
        "smoke": loaded.smoke,
        "versions": versions(),
        "packages": packages(),
        "machine": machine(),
        "root_seed": recipe.root_seed,
        "seeds": list(recipe.seeds),
        "sources": [_source_record(node, graph, source) for node, source in sources.items()],
        "warnings": warnings,
        **({"skipped": list(loaded.skipped)} if loaded.skipped else {}),
    }


def _reported(manifest: Mapping[str, Any] | None) -> Any:
    """What a report depends on: equal values make an equal report, but for what was cached."""
    if manifest is None:
        return None
    stages = [(stage.get("fingerprint"), stage.get("declared")) for stage in manifest["stages"]]
    before = manifest.get("looks", []), manifest.get("plan")
    return manifest["status"], manifest["versions"], manifest.get("packages"), stages, before


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


def _pinned(earlier: ManifestForm | None) -> Mapping[str, PinnedSource]:
    return {
        record["node"]: PinnedSource(record["resolved"], record["label"], record["fallback"], tuple(record["notes"]))
        for record in (earlier["sources"] if earlier else ())
    }


def _numerics(recipe: Recipe, manifest: dict[str, Any]) -> Callable[[], Mapping[str, Any]]:
    known: dict[str, Any] = {}

    def ask() -> Mapping[str, Any]:
        if not known:
            from layersig.models.accelerator import accelerator
            from layersig.models.devices import pick_device, pick_dtype

            device = pick_device(recipe.model.device)
            known.update(numerics(recipe))
            manifest["machine"] = {
                **manifest["machine"],
                **known,
                **accelerator(device),
                "dtype_reason": pick_dtype(recipe.model.dtype, device).reason,
            }
        return known

    return ask


def _meters(recipe: Recipe) -> Callable[[Stage], EnergyMeter]:
    """A meter for every stage: of the processor, and of the GPU for stages that compute on one."""
    processor = zones()

    @cache
    def accelerator() -> Watts | None:
        from layersig.models.devices import pick_device

        return gpu_power(str(pick_device(recipe.model.device)))

    return lambda stage: EnergyMeter(processor, accelerator() if stage.computes else None)


def _write_recipes(folder: RunFolder, loaded: LoadedRecipe) -> None:
    write_atomic(folder.path / "recipe.toml", loaded.text)
    write_atomic(folder.path / "resolved.toml", loaded.resolved)


def _status(sources: Mapping[str, Source], complete: bool) -> str:
    fell_back = any(source.fallback for source in sources.values())
    return ("complete-on-fallback" if fell_back else "complete") if complete else "failed"


def _failures(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    stages: dict[str, list[str]] = {}
    for stage in manifest["stages"]:
        if "error" in stage:
            stages.setdefault(stage["error"], []).append(stage["id"])
    more = {error: f" and {len(ids) - 1} more" if len(ids) > 1 else "" for error, ids in stages.items()}
    return tuple(f"{ids[0]}{more[error]}: {error}" for error, ids in stages.items())


def _write_report(folder: RunFolder, loaded: LoadedRecipe, status: str, looks: Looks) -> None:
    from layersig.topics.analyse import analyse
    from layersig.topics.render import render

    findings = analyse(folder.path, loaded.recipe, status)
    render(folder.path)
    if any(findings[table] for table in (RESULTS, RANKINGS)):
        looks.put(loaded.recipe.seeds)


def _looks(looks: Looks, recipe: Recipe, earlier: ManifestForm | None, warn: Callable[[str], None]) -> list[list[int]]:
    """The seeds of the looks before this one; a record that cannot be read counts for what the run itself kept."""
    try:
        return [list(look) for look in looks.before(recipe.seeds)]
    except Damaged as error:
        warn(f"{error}; whether results were analysed with other seeds before is not known")
        return [] if earlier is None else earlier.get("looks", [])


def _plan(
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


def _readable(folder: RunFolder) -> bool:
    """Whether an earlier start left a report that is still what it wrote."""
    from layersig.topics.analyse import load

    if not (folder.path / "report.html").is_file():
        return False
    try:
        load(folder.path)
    except UserError:
        return False
    return True


def _now() -> str:
    return dt.datetime.now(dt.UTC).replace(microsecond=0).isoformat()
