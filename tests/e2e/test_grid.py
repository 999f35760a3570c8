"""Several seeds and data sets, and other units than modules."""

from __future__ import annotations

import json

import pytest

from tests.e2e.world import Run, World
from tests.study import write_lines

GRID = """\
name = "grid"
seeds = [0, 1]

[model]
source = "path:model"
dtype = "float32"

[[data]]
name = "chats"
source = "file:chats.jsonl"
heldout = 6
max_tokens = 64

[[data]]
name = "others"
source = "file:others.jsonl"
heldout = 0.25
max_tokens = 64

[train]
rank = 2
steps = 2
batch_size = 4
learning_rate = 0.01

[scorers.ila]
kind = "ila"
steps = 2

[scorers.random]
kind = "random"

[scorers.first-k]
kind = "first-k"

[[arms]]
name = "ila-30"
scorer = "ila"
select = { kind = "top", fraction = 0.30 }

[[arms]]
name = "common"
scorer = "ila"
select = { kind = "intersection", fraction = 0.90 }
action = "graft"

[[arms]]
name = "random"
scorer = "random"
select = { kind = "top", fraction = 0.30 }
action = "graft"

[[arms]]
name = "first-k"
scorer = "first-k"
select = { kind = "top", fraction = 0.30 }
action = "graft"

[analyze]
controls = false
"""


@pytest.fixture(scope="module")
def grid(world: World) -> Run:
    write_lines(world.base / "others.jsonl", [{"prompt": f"what is {n}?", "response": f"it is {n}"} for n in range(20)])
    recipe = world.base / "grid.toml"
    recipe.write_text(GRID)
    return World(world.base, recipe).run().run


CELLS = [(data, seed) for data in ("chats", "others") for seed in (0, 1)]


def test_a_grid_has_a_cell_for_every_data_set_and_seed_that_matter(grid: Run) -> None:
    cells = {row["cell"] for row in grid.lines("scores.jsonl")}
    ila = {f"ila/{data}/seed-{seed}/at-1" for data, seed in CELLS}
    assert cells == ila | {"random/seed-0", "random/seed-1", "first-k"}
    found = {row["cell"] for row in grid.lines("selections.jsonl")}
    assert found == {
        *(f"ila-30/{data}/seed-{seed}" for data, seed in CELLS),
        *("common/seed-0", "common/seed-1", "random/seed-0", "random/seed-1", "first-k"),
    }
    (first,) = [row for row in grid.lines("scores.jsonl") if row["scorer"] == "first-k"]
    assert (first["data"], first["seed"], first["checkpoint"]) == (None, None, None)
    common = {row["seed"]: set(row["layers"]) for row in grid.lines("selections.jsonl") if row["arm"] == "common"}
    for seed in (0, 1):
        tops = []
        for row in grid.lines("scores.jsonl"):
            if row["scorer"] == "ila" and row["seed"] == seed:
                ordered = sorted(row["scores"], key=lambda name: -row["scores"][name])
                tops.append(set(ordered[: round(0.9 * len(ordered))]))
        assert common[seed] == tops[0] & tops[1]


def test_every_cell_has_its_own_training_on_shared_items(grid: Run) -> None:
    weights = {
        (arm, *cell): (grid.adapter(arm, *cell) / "adapter_model.safetensors").read_bytes()
        for arm in ("all-layers", "ila-30", "common", "random", "first-k")
        for cell in CELLS
    }
    for arm in ("all-layers", "ila-30"):
        assert len({weights[arm, *cell] for cell in CELLS}) == len(CELLS)
    shown = set()
    for folder in [grid.path / "evaluations" / "base", *grid.path.glob("evaluations/*/*/seed-*")]:
        results = json.loads((folder / "results.json").read_text())["tasks"]
        assert {name: task["n"] for name, task in results.items()} == {"heldout/chats": 6, "heldout/others": 5}
        items = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
        shown.add(tuple((item["task"], item["item"]) for item in items))
    assert len(shown) == 1


def test_a_seed_of_the_grid_is_the_seed_alone(world: World, grid: Run) -> None:
    recipe = world.base / "grid.toml"
    alone = World(world.base, recipe).run("seeds=[1]").run
    assert alone.ran == set()
    assert {row["cell"] for row in alone.lines("scores.jsonl")} < {row["cell"] for row in grid.lines("scores.jsonl")}


@pytest.mark.parametrize(
    ("unit", "names"),
    [
        ("block", [f"model.layers.{block}" for block in range(3)]),
        ("part", [f"model.layers.{block}.{part}" for block in range(3) for part in ("attention", "mlp")]),
    ],
)
def test_units_other_than_modules(world: World, unit: str, names: list[str]) -> None:
    run = world.run(
        f"layers.unit={unit}", "arms.0.select.fraction=0.2", "analyze.controls=false", "evaluate.tasks=[]"
    ).run
    (score,) = run.lines("scores.jsonl")
    assert (score["unit"], list(score["scores"])) == (unit, names)
    best = max(names, key=lambda name: score["scores"][name])
    drawn = run.layers("matched-random")
    assert run.layers("ila-30") == _members(run, best)
    assert drawn in [_members(run, name) for name in names]
    assert len(drawn) == len(run.layers("ila-30"))


def _members(run: Run, unit: str) -> list[str]:
    below = unit.replace(".attention", ".self_attn")
    layers = json.loads((run.path / "layers.json").read_text())["layers"]
    return [layer["name"] for layer in layers if layer["name"].startswith(f"{below}.")]
