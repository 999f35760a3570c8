"""layersig from Python: run a recipe, open a run, read its tables, rankings and charts (docs/python.md)."""

from __future__ import annotations

import contextlib
import html
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tomlkit

from layersig.engine.in_process import run as run_study
from layersig.engine.progress import on_stderr
from layersig.engine.study import Options
from layersig.exporting.base import Base, base_of
from layersig.exporting.cells import ADAPTERS, one_cell
from layersig.exporting.chosen import Chosen, read_chosen
from layersig.exporting.formats import WRITERS
from layersig.exporting.models import loadable_base
from layersig.findings.files import RunFiles
from layersig.findings.tables import Findings
from layersig.recipe.bundled import recipe_path
from layersig.recipe.load import LoadedRecipe, load, stored
from layersig.recipe.resolve import to_toml
from layersig.recipe.schema import Recipe
from layersig.report.material import Material
from layersig.report.svg import specifications
from layersig.store.runfolder import RunFolder, all_runs, find_run
from layersig.topics.brief import brief
from layersig.topics.render import document, material_of

AnyRecipe = str | Path | Mapping[str, Any] | Recipe | LoadedRecipe
"""A recipe: a file, the name of a bundled recipe, the tables of one, or one that is loaded."""


class Run:
    """A run on disk, finished or not; everything is read from its folder.

    Args:
        path: `RUNS/NAME/ID`.
    """

    def __init__(self, path: str | Path) -> None:
        self._folder = RunFolder(Path(path))
        self._folder.manifest()

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the answer of the run."""
        return f"<b>{html.escape(self.name)}</b>: {html.escape(self.status)}<pre>{html.escape(self.answer)}</pre>"

    @property
    def path(self) -> Path:
        """Its folder."""
        return self._folder.path

    @property
    def name(self) -> str:
        """`NAME/ID`."""
        return self._folder.name

    @property
    def status(self) -> str:
        """`complete`, `failed`, `running`, ...: see docs/run-folder.md."""
        return self._folder.status()

    @property
    def failures(self) -> Mapping[str, str]:
        """Why stages failed, by stage."""
        return {stage["id"]: stage["error"] for stage in self._folder.manifest()["stages"] if "error" in stage}

    @property
    def recipe(self) -> Recipe:
        """The recipe with every default written out."""
        return stored(self.path / "resolved.toml")

    @property
    def answer(self) -> str:
        """The answer in a few lines, as `layersig show` prints it.

        Raises:
            UserError: The run was not analysed, because it did not finish.
        """
        return brief(self._material)

    @property
    def report(self) -> Path:
        """The report."""
        return self.path / "report.html"

    @property
    def rankings(self) -> Mapping[str, Mapping[str, float]]:
        """Scores by layer, higher is more important, for every ranking: `SCORER/DATA/seed-K/at-FRACTION`."""
        return {each.cell.key: MappingProxyType(dict(each.ranking.scores)) for each in RunFiles(self.path).rankings}

    @property
    def selections(self) -> Mapping[str, tuple[str, ...]]:
        """Full names of the layers that every arm selected: `ARM/DATA/seed-K`."""
        return {each.cell.key: each.selection.layers for each in RunFiles(self.path).selections}

    def layers(self, arm: str, *, data: str | None = None, seed: int | None = None) -> tuple[str, ...]:
        """The layers to tune, by an arm: those of one seed, or those chosen most often.

        Raises:
            UserError: There is no such arm, or it was trained on several data sets and none is named.
        """
        return tuple(layer.name for layer in self._chosen(arm, data, seed, base_of(self._folder)).layers)

    def configuration(self, arm: str, tool: str, *, data: str | None = None, seed: int | None = None) -> str:
        """The layers of an arm as the configuration of a training tool, as `layersig export --to TOOL` writes it.

        Raises:
            UserError: As `layers`, or the tool cannot express them, or the model has changed since the run.
            MachineError: The model is not on this machine, and cannot be reached.
        """
        return WRITERS[tool](self._chosen(arm, data, seed, loadable_base(self._folder, offline=False))).text

    def adapter(self, arm: str, *, data: str | None = None, seed: int | None = None) -> Path:
        """The folder of an adapter, for `PeftModel.from_pretrained`.

        Raises:
            UserError: There is none, or several fit.
        """
        return self.path / ADAPTERS / one_cell(self.path, arm, data, seed)

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables that hold something: `results`, `comparisons`, `ranked_layers`, ..."""
        return tuple(name for name, rows in self._findings.tables.items() if rows)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table; none where the run has no such table."""
        return [row.model_dump() for row in self._findings.tables.get(table, ())]

    def table(self, table: str) -> Any:
        """A table as a data frame: of pandas where that is installed, else of pyarrow."""
        rows = self.rows(table)
        try:
            import pandas
        except ImportError:
            import pyarrow

            return pyarrow.Table.from_pylist(rows)
        return pandas.DataFrame(rows)

    @property
    def charts(self) -> Mapping[str, Any]:
        """The figures of the report as altair charts, by name; `charts["scores"]` is the map of all layers."""
        import altair

        with specifications() as found:
            document(self._material)  # its sections draw
        for spec in found.values():
            spec["config"] = {**spec["config"], "background": "transparent"}  # altair takes no null
        return {name: altair.ConcatChart.from_dict(spec) for name, spec in found.items()}

    @property
    def _material(self) -> Material:
        return material_of(self.path)

    @property
    def _findings(self) -> Findings:
        return self._material.findings

    def _chosen(self, arm: str, data: str | None, seed: int | None, base: Base) -> Chosen:
        return read_chosen(self.path, arm, base, data=data, seed=seed)


def run(
    recipe: AnyRecipe,
    *overrides: str,
    runs: str | Path = "runs",
    smoke: bool = False,
    offline: bool = False,
    strict: bool = False,
    reuse: bool = True,
    track: Sequence[str] = (),
    quiet: bool = False,
) -> Run:
    """Run a recipe in this process; finished stages are not run again.

    Args:
        recipe: The recipe. Paths in one that is no file start from the working directory.
        overrides: `KEY.SUB=VALUE`.
        runs: Folder of all runs.
        smoke: Run every stage with 2 steps and a few items, to check that it works.
        offline: Use only what is on this machine.
        strict: Refuse fallbacks of sources.
        reuse: False runs every stage again, ignoring the cache.
        track: Names of trackers to inform of the run.
        quiet: Show no progress.

    Returns:
        The run; where a stage failed, its `status` is `failed`, and `failures` says why.

    Raises:
        UserError: The recipe or what it names cannot be used.
        MachineError: The machine or the network is in the way.
    """
    options = Options(Path(runs), offline=offline, strict=strict, reuse=reuse, track=tuple(track))
    with _loaded(recipe, overrides, smoke=smoke) as loaded:
        return Run(run_study(loaded, options, on_stderr(quiet=quiet)).folder.path)


def open_run(name: str | Path, *, runs: str | Path = "runs") -> Run:
    """A run that there is: by its path, `NAME/ID`, the start of an ID, or a NAME, which is its newest run.

    Raises:
        UserError: None or several fit.
    """
    return Run(find_run(Path(runs), str(name)).path)


def list_runs(runs: str | Path = "runs") -> list[Run]:
    """Every run below a folder, by name."""
    return [Run(folder.path) for folder in all_runs(Path(runs))]


@contextlib.contextmanager
def _loaded(recipe: AnyRecipe, overrides: tuple[str, ...], *, smoke: bool) -> Iterator[LoadedRecipe]:
    if isinstance(recipe, LoadedRecipe):
        if overrides or smoke:
            recipe = load(recipe.path, (*recipe.overrides, *overrides), smoke=smoke or recipe.smoke)
        yield recipe
        return
    if isinstance(recipe, str | Path):
        path = recipe if isinstance(recipe, Path) else recipe_path(recipe)
        yield load(path, overrides, smoke=smoke)
        return
    text = to_toml(recipe) if isinstance(recipe, Recipe) else tomlkit.dumps(recipe)
    with tempfile.NamedTemporaryFile("w", dir=Path.cwd(), prefix=".recipe-", suffix=".toml", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        yield load(file.name, overrides, smoke=smoke)
