"""The parts of the replication: recipes in the order in which they are run, each in a run of its own."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from layersig.recipe.load import LoadedRecipe, load

RECIPES = Path(__file__).parents[2] / "recipes"
STANDINS = Path(__file__).with_name("standins.toml")
_SEEDS = "seeds=[0, 1, 2, 3, 4]"
_NECESSITY = 'analyze.sharing=["likelihood", "tasks", "size", "ila"]'
_MILESTONES = 'analyze.sharing=["ila-5", "ila-25", "ila-50", "ila-75", "ila-100"]'


@dataclass(frozen=True)
class Part:
    """A recipe and how it is run.

    Attributes:
        name: Name of the part, of its extract, and what `make study PARTS=...` calls it.
        recipe: The recipe, as `layersig run` names it.
        overrides: Keys that are changed, for recipes that serve other purposes too.
    """

    name: str
    recipe: str
    overrides: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The file of the recipe."""
        return RECIPES / f"{self.recipe}.toml"

    def command(self) -> str:
        """How anyone runs it."""
        changed = "".join(f" '{override}'" for override in self.overrides)
        return f"layersig run {self.recipe}{changed}"

    def load(self, data: Path | None) -> LoadedRecipe:
        """The recipe with its overrides, and files of a folder in place of hub data sets.

        Args:
            data: The folder; None for the sources that the recipe names.
        """
        return load(self.path, (*self.overrides, *self._files(data)))

    def _files(self, data: Path | None) -> Iterator[str]:
        if data is None:
            return
        files = tomllib.loads(STANDINS.read_text(encoding="utf-8"))
        entries = tomllib.loads(self.path.read_text(encoding="utf-8"))["data"]
        for number, entry in enumerate(entries):
            if (file := files.get(entry["source"])) is not None:
                yield f"data.{number}.source=file:{data.resolve() / file}"
                if "fields" in entry:  # those of the hub's rows
                    yield f"data.{number}.fields={{}}"


PARTS = (
    Part("claim-6", "replication/claim-6", ("root_seed=2",)),
    Part("claim-8-blocks", "replication/claim-8-blocks", ("root_seed=2",)),
    Part("claim-8-modules", "replication/claim-8-modules", ("root_seed=2",)),
    Part("rankings", "replication/rankings"),
    Part("arms", "replication/arms"),
    Part("estimators", "replication/estimators"),
    Part("cost", "replication/cost", ("root_seed=1",)),
    Part("fraction", "studies/small-fraction", (_SEEDS, "evaluate.tasks=[]")),
    Part("kinds", "replication/kinds", ("root_seed=1",)),
    Part("data", "replication/data", ("root_seed=1",)),
    Part("pruning", "replication/pruning"),
    Part("blocks", "pruning/small-sweep", (_SEEDS, "root_seed=1", _NECESSITY)),
    Part("recovery", "replication/recovery"),
    Part("milestones", "small/table-04", ("root_seed=4", _MILESTONES)),
    Part("initial", "small/table-15", ("root_seed=2", 'analyze.sharing=["ila-4", "ila-2", "ila-1"]')),
    Part("full", "small/table-09", ("root_seed=3", 'analyze.sharing=["lora", "full"]')),
    Part("tasks", "replication/tasks", ("root_seed=2",)),
    Part("more-arms", "replication/more-arms", ("root_seed=1",)),
    Part("tuned-alone", "replication/tuned-alone", ("root_seed=3",)),
    Part("own-rates", "replication/own-rates"),
    Part("a-tenth", "replication/a-tenth"),
    Part("claim-6-again", "replication/claim-6", ('name="claim-6-again"', "root_seed=3")),
    Part("claim-8-blocks-again", "replication/claim-8-blocks", ('name="claim-8-blocks-again"', "root_seed=3")),
    Part("claim-8-modules-again", "replication/claim-8-modules", ('name="claim-8-modules-again"', "root_seed=3")),
    Part("fraction-again", "studies/small-fraction", (_SEEDS, "evaluate.tasks=[]", "root_seed=1")),
)
"""Cheap and decisive ones first. Those named `again` repeat a study on other rows of the same data sets."""


def chosen(names: list[str]) -> tuple[Part, ...]:
    """The parts of these names, or all.

    Raises:
        SystemExit: There is no part of a name.
    """
    known = {part.name: part for part in PARTS}
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"no part {unknown[0]!r}; there are {', '.join(known)}")
    return tuple(part for part in PARTS if not names or part.name in names)
