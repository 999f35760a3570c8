"""A recipe from file to report: resolve, run what is missing, analyse, write."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from layersig.engine.alike import AlikeFailures
from layersig.engine.energy import EnergyMeter, Watts, gpu_power, zones
from layersig.engine.execute import Ended, Executor, numerics
from layersig.engine.header import header
from layersig.engine.input_check import check_files
from layersig.engine.manifest import (
    failures,
    final_status,
    looks_before,
    now,
    opening,
    pinned,
    plan_on_record,
    planned_costs,
    what_report_shows,
)
from layersig.engine.preflight import check_sources, check_trainings
from layersig.engine.progress import Display
from layersig.engine.publish import Publisher
from layersig.engine.remote import Setting
from layersig.engine.repeat import keep_inputs
from layersig.engine.runner import IN_PROCESS, AcrossProcesses
from layersig.engine.sources import resolve_all
from layersig.engine.task_check import check_tasks
from layersig.errors import UserError
from layersig.findings.rows.arms import RESULTS
from layersig.findings.rows.layers import RANKINGS
from layersig.pipeline import Graph, Stage, declaration, stages, without_seeds
from layersig.plugin.manager import offered_trackers
from layersig.plugin.tracking import Tracking
from layersig.recipe.load import LoadedRecipe
from layersig.recipe.schema import Recipe
from layersig.sources.source import Source
from layersig.store.cache import Cache, StageEntry, cache_limit, cache_root
from layersig.store.cleaning import keep_limit
from layersig.store.declarations import Declarations
from layersig.store.files import write_atomic
from layersig.store.looks import Looks
from layersig.store.planned_costs import PlannedCosts
from layersig.store.plans import Plans
from layersig.store.runfolder import RunFolder

if TYPE_CHECKING:
    from layersig.distributed.crew import Driver


@dataclass(frozen=True)
class Options:
    """How to run, as opposed to what.

    Attributes:
        runs: Folder of all runs.
        offline: Reach nothing outside this machine.
        strict: Refuse declared fallbacks.
        reuse: False runs every stage anew.
        stop_after: How many stages of a kind may fail in a row with the same error.
        track: Names of trackers to inform.
        driver: The other processes of a launch, which run stages together with this one.
    """

    runs: Path
    offline: bool = False
    strict: bool = False
    reuse: bool = True
    stop_after: int = 5
    track: tuple[str, ...] = ()
    driver: Driver | None = None


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


Outlook = Callable[[LoadedRecipe, Graph, Mapping[str, Source], Mapping[str, StageEntry], Path], str | None]
"""What remains of a study in one line, from its stages, its sources, what is cached, and the folder of all runs."""


def run(loaded: LoadedRecipe, options: Options, console: Console, outlook: Outlook | None = None) -> Outcome:
    """Run a recipe in this process; what its run folder and the cache hold already is kept.

    Args:
        loaded: The recipe.
        options: How to run it.
        console: Where progress is shown.
        outlook: Says what remains, before the first stage.

    Raises:
        LayersigError: The input, the machine or the network is in the way; the manifest then says `failed`.
        KeyboardInterrupt: The manifest then says `interrupted`; running again continues.
    """
    with Display(console) as display, opened(loaded, options, display) as study:
        display.phase("looking for finished stages")
        held = study.executor.held(study.graph, study.sources)
        if any(stage.computes for stage in study.graph.stages):
            study.numerics()  # for the line below: a stage is about to ask anyway
        machine = study.publisher.manifest["machine"]
        display.say(f"· {header(loaded, study.graph, study.sources, machine, len(held))}")
        if outlook and (line := outlook(loaded, study.graph, study.sources, held, options.runs)):
            display.say(f"· {line}")
        display.study(study.graph.stages, {name: entry.about["seconds"] for name, entry in held.items()})
        listeners = _Listeners(study.publisher, display, AlikeFailures(options.stop_after))
        complete = study.executor.run(study.graph, study.sources, listeners)
        display.phase("analysing and writing the report")
        return study.close(complete)


class _Listeners:
    """Both the run folder and the terminal are informed of stages, the run folder first; failures are counted."""

    def __init__(self, publisher: Publisher, display: Display, failures: AlikeFailures) -> None:
        self._publisher = publisher
        self._display = display
        self._failures = failures

    def started(self, stage: Stage, fingerprint: str) -> None:
        """A stage is about to run."""
        self._publisher.started(stage, fingerprint)

    def ended(self, stage: Stage, how: Ended) -> None:
        """A stage has ended."""
        self._publisher.ended(stage, how)
        self._display.ended(stage, how)
        self._failures.count(stage, how)


@dataclass(frozen=True)
class Device:
    """The device where stages run.

    Attributes:
        numerics: What results depend on besides their inputs.
        about: What else the manifest says of it.
    """

    numerics: Mapping[str, Any]
    about: Mapping[str, Any]


def device_of(recipe: Recipe) -> Device:
    """The device that a recipe computes on in this process."""
    from layersig.models.accelerator import accelerator
    from layersig.models.devices import pick_device, pick_dtype

    device = pick_device(recipe.model.device)
    about = {**accelerator(device), "dtype_reason": pick_dtype(recipe.model.dtype, device).reason}
    return Device(numerics(recipe), about)


@dataclass(frozen=True)
class Study:
    """A run under way.

    Attributes:
        loaded: The recipe.
        folder: The run folder.
        graph: The stages.
        sources: Its sources.
        numerics: What results depend on besides inputs; the manifest then names the device.
        executor: Runs its stages.
        setting: What its stages need in another process.
        publisher: Keeps the run folder.
        close: Writes what is written once every stage has ended, given whether all are done.
    """

    loaded: LoadedRecipe
    folder: RunFolder
    graph: Graph
    sources: Mapping[str, Source]
    numerics: Callable[[], Mapping[str, Any]]
    executor: Executor
    setting: Setting
    publisher: Publisher
    close: Callable[[bool], Outcome]


@contextlib.contextmanager
def opened(
    loaded: LoadedRecipe,
    options: Options,
    display: Display,
    *,
    device: Callable[[Recipe], Device] = device_of,
    here: bool = True,
) -> Iterator[Study]:
    """A run from its lock to its report; the manifest says how the block was left.

    Args:
        loaded: The recipe.
        options: How to run it.
        display: Shows what is done.
        device: Describes the device where stages run.
        here: Whether that is this machine, whose memory trainings must fit into.
    """
    recipe, limit = loaded.recipe, cache_limit()
    check_files(loaded)
    if recipe.evaluate.tasks:
        display.phase("checking the tasks")
    check_tasks(loaded)
    folder = RunFolder(options.runs / recipe.name / loaded.id)
    with folder.lock():
        warnings: list[str] = []

        def warn(message: str) -> None:
            warnings.append(message)
            display.say(f"warning: {message}")

        tracking = Tracking(options.track, list(offered_trackers()) if options.track else (), warn)
        for skipped in loaded.skipped:
            display.say(f"warning: {skipped}")
        earlier = folder.earlier(warn)
        cache = Cache(cache_root(), warn)
        cache.register(folder.path)
        graph = stages(recipe, loaded.components)
        display.phase("finding model, data and tasks")
        sources = resolve_all(graph, loaded, pinned(earlier), offline=options.offline, strict=options.strict, warn=warn)
        for source in sources.values():
            for note in source.notes:
                display.say(f"note: {source.label}: {note}")
        check_sources(sources, recipe, warn)
        if here:
            check_trainings(graph, sources["source/model"].path, loaded)
        manifest = opening(loaded, graph, sources, earlier, warnings)
        declarations = Declarations(cache.root).put(declaration(recipe))
        looks = Looks(cache.root, without_seeds(recipe))
        manifest["looks"] = looks_before(looks, recipe, earlier, warn)
        manifest |= plan_on_record(Plans(cache.root), loaded, earlier, warn)
        manifest |= planned_costs(PlannedCosts(cache.root), loaded, earlier, warn)
        reported = _readable(folder)
        publisher = Publisher(
            folder, graph, manifest, sources["source/model"].label, declarations[0], tracking, finished=reported
        )
        resolved = folder.path / "resolved.toml"
        unchanged = resolved.is_file() and resolved.read_bytes() == loaded.resolved.encode()
        _write_recipes(folder, loaded)
        # What an earlier run has kept goes with its records, and is renewed with them, once this one has ended well.
        kept = None if earlier is None else earlier.get("inputs")
        manifest["inputs"] = keep_inputs(folder, loaded, manifest["packages"]) if kept is None else kept
        ask_numerics = _numerics(recipe, manifest, device)
        executor = Executor(
            cache,
            ask_numerics,
            recipe.root_seed,
            declarations,
            display.stage,
            runner=IN_PROCESS if options.driver is None else AcrossProcesses(options.driver, loaded.plugin_files),
            meter=_meters(recipe),
            reuse=options.reuse,
            summing={} if options.driver is None else options.driver.summing,
        )

        def close(complete: bool) -> Outcome:
            cache.hashes.save()
            if complete and kept is not None:
                manifest["inputs"] = keep_inputs(folder, loaded, manifest["packages"])
            manifest["finished"] = now()
            publisher.finish()
            status = final_status(sources, complete)
            if not (
                reported
                and unchanged
                and what_report_shows(earlier) == what_report_shows({**publisher.manifest, "status": status})
            ):
                _write_report(folder, loaded, status, looks)
            tracking.finish(status, _results(folder) if tracking else ())
            # Last of all: where the disk is too full for the report, the run must not look complete.
            manifest["status"] = status
            publisher.save()
            if limit is not None:
                keep_limit(cache, limit, options.runs, display.say)
            return Outcome(folder, status, failures(publisher.manifest))

        setting = Setting(
            cache.root.resolve(),
            partial(numerics, recipe),
            recipe.root_seed,
            tuple(declarations),
            loaded.plugin_files,
            options.reuse,
        )
        tracking.start(recipe.name, loaded.id, recipe.model_dump(mode="json"))
        try:
            yield Study(loaded, folder, graph, sources, ask_numerics, executor, setting, publisher, close)
        except KeyboardInterrupt:
            manifest["status"] = "interrupted"
            publisher.save()
            tracking.finish("interrupted")
            raise
        except Exception:
            manifest["status"] = "failed"
            with contextlib.suppress(OSError):  # a full disk may be the very reason
                publisher.save()
            tracking.finish("failed")
            raise


def _numerics(
    recipe: Recipe, manifest: dict[str, Any], device: Callable[[Recipe], Device]
) -> Callable[[], Mapping[str, Any]]:
    known: dict[str, Any] = {}

    def ask() -> Mapping[str, Any]:
        if not known:
            found = device(recipe)
            known.update(found.numerics)
            manifest["machine"] = {**manifest["machine"], **known, **found.about}
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


def _write_report(folder: RunFolder, loaded: LoadedRecipe, status: str, looks: Looks) -> None:
    from layersig.topics.analyse import analyse
    from layersig.topics.render import render

    findings = analyse(folder.path, loaded.recipe, status)
    render(folder.path)
    if any(findings[table] for table in (RESULTS, RANKINGS)):
        looks.put(loaded.recipe.seeds)


def _results(folder: RunFolder) -> list[dict[str, Any]]:
    from layersig.topics.analyse import load

    return [row.model_dump() for row in load(folder.path)[RESULTS]]


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
