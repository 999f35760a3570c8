"""A recipe from file to report: resolve, run what is missing, analyse, write."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layersig.engine.device import Device, device_of, meters, numerics
from layersig.engine.execute import Executor
from layersig.engine.input_check import check_files, recipe_notes
from layersig.engine.manifest import (
    failures,
    final_status,
    looks_before,
    now,
    opening,
    other_content,
    pinned,
    plan_on_record,
    planned_costs,
    what_report_shows,
)
from layersig.engine.preflight import check_sources, check_spreading, check_trainings
from layersig.engine.progress import Display
from layersig.engine.publish import Publisher
from layersig.engine.remote import Setting
from layersig.engine.repeat import keep_inputs
from layersig.engine.report import is_readable, results, write_report
from layersig.engine.runner import IN_PROCESS, AcrossProcesses
from layersig.engine.sources import resolve_all
from layersig.engine.task_check import check_tasks
from layersig.pipeline import Graph, declaration, stages, without_seeds
from layersig.plugin.manager import offered_trackers
from layersig.plugin.tracking import Tracking
from layersig.recipe.load import LoadedRecipe
from layersig.recipe.schema import Recipe
from layersig.sources.source import Source
from layersig.store.cache import Cache, cache_limit, cache_root
from layersig.store.cleaning import keep_limit
from layersig.store.declarations import Declarations
from layersig.store.files import write_atomic
from layersig.store.hashing import sha256_json
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
        for note in recipe_notes(loaded):
            warn(note)
        earlier = folder.earlier(warn)
        cache = Cache(cache_root(), warn)
        cache.register(folder.path)
        graph = stages(recipe, loaded.components)
        check_spreading(graph, loaded)
        display.phase("finding model, data and tasks")
        sources = resolve_all(graph, loaded, pinned(earlier), offline=options.offline, strict=options.strict, warn=warn)
        for source in sources.values():
            for note in source.notes:
                display.say(f"note: {source.label}: {note}")
        check_sources(sources, recipe, warn)
        if here:
            check_trainings(graph, sources["source/model"].path, loaded)
        for changed in other_content(earlier, sources):
            warn(changed)
        manifest = opening(loaded, graph, sources, earlier, warnings)
        digests = {source.spec: source.digest for source in sources.values()}
        declared = declaration(recipe, loaded.components, digests)
        if loaded.smoke:  # no try at the study
            declared["model"] = f"smoke run of {declared['model']}"
        declarations = Declarations(cache.root).put(declared)
        manifest["study"] = sha256_json(without_seeds(declared))
        looks = Looks(cache.root, manifest["study"])
        manifest["looks"] = looks_before(looks, recipe, earlier, warn)
        manifest |= plan_on_record(Plans(cache.root), loaded, earlier, warn)
        manifest |= planned_costs(PlannedCosts(cache.root), loaded, earlier, warn)
        reported = is_readable(folder)
        publisher = Publisher(
            folder,
            graph,
            manifest,
            sources["source/model"].label,
            declarations[0],
            tracking,
            finished=reported,
            earlier=earlier,
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
            meter=meters(recipe),
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
            same = reported and unchanged
            same = same and what_report_shows(earlier) == what_report_shows({**publisher.manifest, "status": status})
            if not same and write_report(folder, recipe, status):
                looks.put(recipe.seeds)
            tracking.finish(status, results(folder) if tracking else ())
            # Last of all: where the disk is too full for the report, the run must not look complete.
            manifest["status"] = status
            publisher.save()
            if limit is not None:
                try:
                    keep_limit(cache, limit, options.runs, display.say)
                except OSError as error:  # the run is complete, whatever became of the cache
                    display.say(f"warning: the cache was not brought below LAYERSIG_CACHE_LIMIT: {error}")
            return Outcome(folder, status, failures(publisher.manifest))

        def end_early(status: str) -> None:
            if publisher.saved not in (None, "running"):  # it is over; another run that was opened with it is not
                return
            if publisher.saved or earlier is None:  # else nothing has begun, and what an earlier start did still holds
                manifest["status"] = status
                with contextlib.suppress(OSError):  # a full disk may be the very reason
                    publisher.save()
            tracking.finish(status)

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
            end_early("interrupted")
            raise
        except Exception:
            end_early("failed")
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


def _write_recipes(folder: RunFolder, loaded: LoadedRecipe) -> None:
    write_atomic(folder.path / "recipe.toml", loaded.text)
    write_atomic(folder.path / "resolved.toml", loaded.resolved)
