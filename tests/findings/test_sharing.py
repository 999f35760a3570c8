from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from layersig.analysis.agreement import RunDesign, agreement_jackknife_runs
from layersig.analysis.multiplicity import holm
from layersig.analysis.overlap import pairwise_kappa
from layersig.analysis.selections import top_k
from layersig.findings.rankings import ScoreTable
from layersig.findings.rows.layers import LayerRow
from layersig.findings.samples import Sample, samples
from layersig.findings.unit_grid import grid_of
from layersig.recipe.schema import Recipe
from layersig.records import Cell
from layersig.topics.stability.replicates import replicates
from layersig.topics.stability.rows import SharingRow
from layersig.topics.stability.sharing import sharing_rows
from layersig.topics.stability.variation import component_rows, stability_rows
from tests.findings.recipes import recipe_of

KINDS = ("q", "v", "up")
UNITS = tuple(
    LayerRow(number=3 * b + i, layer=f"m.{b}.{kind}", block=b, kind=kind, parameters=10)
    for b in range(20)
    for i, kind in enumerate(KINDS)
)
N, K, SEEDS = len(UNITS), 18, 5


def study(scorers: dict[str, dict[str, Any]] | None = None, *data: dict[str, Any]) -> Recipe:
    return recipe_of(
        seeds=tuple(range(SEEDS)),
        scorers=scorers or {"ila": {"kind": "ila"}},
        data=data or ({"name": "d", "source": "pypi:y"},),
    )


def halves(*names: str, **more: Any) -> tuple[dict[str, Any], ...]:
    return tuple(
        {"name": f"{name}-{half}", "source": f"pypi:{name}", "half": half, **more} for name in names for half in (0, 1)
    )


class World:
    """Scores made of what data sets, samples of rows, trainings and the scorer contribute."""

    def __init__(self, seed: int, **sd: float) -> None:
        self.rng, self.sd = np.random.default_rng(seed), sd
        self.parts: dict[tuple[object, ...], np.ndarray] = {}

    def part(self, name: str, *key: object) -> np.ndarray:
        drawn = self.parts.setdefault((name, *key), self.rng.normal(size=N))
        return self.sd.get(name, 0.0) * drawn

    def table(self, scorer: str, data: str, kind: str = "ila", seeds: int = SEEDS, own: float = 0.0) -> ScoreTable:
        name = data.rstrip("-01")
        scores = [
            self.part("common")
            + self.part("data", name)
            + self.part("rows", data)
            + self.part("training", data, seed)
            + self.part("scoring", scorer, data, seed)
            + own * self.part("own", scorer)
            for seed in range(seeds)
        ]
        return ScoreTable(Cell(scorer=scorer, data=data), kind, tuple(range(seeds)), np.array(scores), 0)


def rows_of(recipe: Recipe, *tables: ScoreTable, sizes: tuple[int, ...] = (K,)) -> tuple[SharingRow, ...]:
    return sharing_rows(replicates(tables, recipe), sizes, "m", recipe)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (halves("d"), {"d-0": Sample("d-0 + d-1", 0), "d-1": Sample("d-0 + d-1", 1)}),
        (halves("d")[:1], {"d-0": Sample("d-0")}),
        ((halves("d")[0], halves("e")[1]), {"d-0": Sample("d-0"), "e-1": Sample("e-1")}),
        ((halves("d", limit=40)[0], halves("d")[1]), {"d-0": Sample("d-0"), "d-1": Sample("d-1")}),
        (
            (*halves("d"), {"name": "full", "source": "pypi:d"}),
            {"d-0": Sample("d-0 + d-1", 0), "d-1": Sample("d-0 + d-1", 1), "full": Sample("full")},
        ),
    ],
)
def test_halves_are_entries_that_differ_in_nothing_else(
    data: tuple[dict[str, Any], ...], expected: dict[str, Sample]
) -> None:
    assert dict(samples(study(None, *data))) == expected


def test_two_halves_are_one_data_set_and_are_asked_about_as_halves() -> None:
    world = World(0, common=1.0, training=0.2)
    recipe = study(None, *halves("d"))
    (row,) = rows_of(recipe, world.table("ila", "d-0"), world.table("ila", "d-1"))
    assert (row.across, row.cells, row.data, row.ceiling) == (
        "halves",
        ("d-0", "d-1"),
        "d-0 + d-1",
        "seeds of one data set",
    )
    assert row.data_sets == 1
    assert "on the halves d-0 and d-1 of one data set the rankings share layers" in row.sentence


def test_data_sets_are_held_against_halves_where_all_have_them() -> None:
    world = World(1, common=1.0, rows=0.6, training=0.3)
    recipe = study(None, *halves("d", "e"))
    tables = [world.table("ila", data["name"]) for data in halves("d", "e")]
    rows = {row.across: row for row in rows_of(recipe, *tables)}
    row = rows["data sets"]
    kappa = pairwise_kappa(top_k(np.concatenate([table.scores for table in tables]), K))
    entry, seed = np.repeat(np.arange(4), SEEDS), np.tile(np.arange(SEEDS), 4)
    unlike = seed[:, None] != seed
    within = (entry[:, None] != entry) & (entry[:, None] // 2 == entry // 2) & unlike
    between = (entry[:, None] // 2 != entry // 2) & unlike
    assert row.ratio == pytest.approx(kappa[between].mean() / kappa[within].mean())
    assert (row.ceiling, row.seeds, row.data_sets) == ("halves of one data set", SEEDS, 2)
    assert row.p_exchangeable is None
    assert "of the agreement between halves of one data set" in row.sentence
    # Against seeds alone, the noise of rows would look like a difference of the data sets.
    seeds_only = RunDesign(entry, seed)
    assert row.ratio is not None
    assert row.ratio > agreement_jackknife_runs(np.concatenate([t.scores for t in tables]), seeds_only, K).ratio.value


def test_a_data_set_without_its_other_half_falls_back_to_seeds() -> None:
    world = World(2, common=1.0, training=0.4)
    recipe = study(None, *halves("d"), {"name": "e", "source": "pypi:e"})
    rows = {row.across: row for row in rows_of(recipe, *(world.table("ila", name) for name in ("d-0", "d-1", "e")))}
    assert set(rows) == {"halves", "data sets"}
    assert (rows["data sets"].ceiling, rows["data sets"].cells) == ("seeds of one data set", ("d-0 + d-1", "e"))


def test_three_data_sets_are_compared_together_and_two_by_two() -> None:
    world = World(3, common=1.0, training=0.4)
    recipe = study(None, *({"name": name, "source": f"pypi:{name}"} for name in "def"))
    rows = rows_of(recipe, *(world.table("ila", name) for name in "def"), sizes=(K, 30))
    assert [row.cells for row in rows if row.k == K] == [("d", "e", "f"), ("d", "e"), ("d", "f"), ("e", "f")]
    for family, tests in (("data sets, together", 2), ("data sets, two by two", 6)):
        members = [row for row in rows if row.family == family]
        assert {row.tests for row in members} == {tests}
        raw = np.array([row.p for row in members], dtype=float)
        assert [row.adjusted_p for row in members] == pytest.approx(holm(raw).tolist())
    for row in rows:
        assert row.adjusted_p is not None
        assert (row.verdict == "shares layers") == (row.adjusted_p <= 0.05)


def test_what_is_declared_was_scored_after_it_was_and_is_corrected_apart() -> None:
    world = World(3, common=1.0, training=0.4)
    recipe = study(
        {"ila": {"kind": "ila"}, "norm": {"kind": "gradient-norm"}},
        *({"name": name, "source": f"pypi:{name}"} for name in "def"),
    )
    tables = [world.table(scorer, name, kind) for scorer, kind in (("ila", "ila"), ("norm", "norm")) for name in "def"]
    scored = {table.run_cell(row) for table in tables[:3] for row in range(SEEDS)}
    rows = sharing_rows(replicates(tables, recipe), (K, 30), "m", recipe, scored)
    assert {(row.scorer, row.across) for row in rows if row.declared} == {("ila", "data sets")}
    assert all(row.sentence.startswith("Declared: " if row.declared else "Exploratory: ") for row in rows)
    for declared, family, tests in ((True, "together", 2), (False, "together", 2), (True, "two by two", 6)):
        members = [row for row in rows if (row.declared, row.family) == (declared, f"data sets, {family}")]
        assert {row.tests for row in members} == {tests}
        raw = np.array([row.p for row in members], dtype=float)
        assert [row.adjusted_p for row in members] == pytest.approx(holm(raw).tolist())
    early = sharing_rows(replicates(tables, recipe), (K,), "m", recipe, scored - {tables[2].run_cell(4)})
    assert [row.cells for row in early if row.declared] == [("d", "e")]


def test_initial_values_that_change_nothing_are_shown_to_share_and_others_are_not() -> None:
    world = World(4, common=1.0, training=0.3, scoring=0.05, own=1.0)
    named = {f"ila-{start}": {"kind": "ila", "initial": float(start)} for start in (4, 2, 1)}
    recipe = study(named)
    alike = rows_of(recipe, *(world.table(name, "d") for name in named))
    (row,) = (each for each in alike if each.family == "scorers, together")
    assert (row.cells, row.data, row.verdict) == (tuple(named), "d", "shares layers")
    assert "by ila-4, ila-2 and ila-1 the rankings share layers as far as seeds of one data set do" in row.sentence
    assert len([each for each in alike if each.family == "scorers, two by two"]) == 3
    unlike = rows_of(recipe, *(world.table(name, "d", own=1.0) for name in named))
    assert {each.verdict for each in unlike} == {"sharing not shown"}


def test_scorers_that_select_alike_with_every_seed_need_no_test() -> None:
    world = World(4, common=1.0, training=0.3)
    recipe = study({"ila": {"kind": "ila"}, "other": {"kind": "ila", "initial": 2.0}})
    (row,) = rows_of(recipe, world.table("ila", "d"), world.table("other", "d"))
    assert (row.verdict, row.p) == ("the same layers in every run", None)
    assert row.ratio == pytest.approx(1.0)
    assert "the rankings select the same layers with every seed" in row.sentence


def test_two_trainings_that_differ_in_kind_are_compared_run_by_run() -> None:
    world = World(5, common=1.0, training=0.4)
    world.sd["scoring"] = 0.3
    recipe = study({"lora": {"kind": "ila"}, "full": {"kind": "ila", "initial": 2.0}})
    tables = world.table("lora", "d"), world.table("full", "d")
    (row,) = rows_of(recipe, *tables)
    kappa = pairwise_kappa(top_k(np.concatenate([table.scores for table in tables]), K))
    a, b, unlike = slice(0, SEEDS), slice(SEEDS, None), ~np.eye(SEEDS, dtype=bool)
    ceiling = (kappa[a, a][unlike].mean() + kappa[b, b][unlike].mean()) / 2
    assert row.ratio == pytest.approx(kappa[a, b][unlike].mean() / ceiling)
    assert row.family == "scorers, together"


@pytest.mark.parametrize("seeds", [2, 3, 4])
def test_fewer_than_five_seeds_give_no_p_and_no_verdict(seeds: int) -> None:
    world = World(6, common=1.0, training=0.4)
    recipe = study(None, {"name": "d", "source": "pypi:d"}, {"name": "e", "source": "pypi:e"})
    (row,) = rows_of(recipe, *(world.table("ila", name, seeds=seeds) for name in "de"))
    assert (row.p, row.adjusted_p, row.verdict) == (None, None, "too few seeds for a sharing verdict")


def test_a_correction_can_take_a_verdict_away() -> None:
    world = World(12, common=1.0, training=0.35)
    names = [f"d{number}" for number in range(6)]
    recipe = study(None, *({"name": name, "source": f"pypi:{name}"} for name in names))
    pairs = [row for row in rows_of(recipe, *(world.table("ila", name) for name in names)) if len(row.cells) == 2]
    lost = [row for row in pairs if row.lower is not None and row.lower > row.margin and row.verdict != "shares layers"]
    assert lost
    assert all(row.p is not None and row.adjusted_p is not None and row.p <= 0.05 < row.adjusted_p for row in lost)
    assert all("sharing is not shown" in row.sentence for row in lost)


def test_a_second_stream_is_a_repeat_whose_noise_is_the_scorers_own() -> None:
    world = World(7, common=1.0, training=0.5, scoring=0.5)
    recipe = study({"ila": {"kind": "ila"}, "again": {"kind": "ila", "stream": 1}})
    tables = world.table("ila", "d"), world.table("again", "d")
    (found,) = replicates(tables, recipe)
    assert (found.scorer, found.repeats is None) == ("ila", False)
    assert sharing_rows([found], (K,), "m", recipe) == ()
    rows = {row.quantity: row for row in stability_rows(found, (K,), grid_of(UNITS), 0.95)}
    kappa = pairwise_kappa(top_k(np.concatenate([table.scores for table in tables]), K))
    same = np.diagonal(kappa[:SEEDS, SEEDS:])
    assert rows["rescored"].value == pytest.approx(same.mean())
    assert rows["rescored"].value > rows["within"].value
    parts = {row.component: row for row in component_rows(found, grid_of(UNITS), 0.95)}
    assert list(parts) == ["type", "depth", "type x depth", "run", "scoring"]
    assert parts["run"].variance == pytest.approx(parts["scoring"].variance, rel=0.6)
    assert parts["scoring"].low is not None


@pytest.mark.parametrize(
    "scorers",
    [
        {"ila": {"kind": "ila"}, "again": {"kind": "ila"}},
        {"ila": {"kind": "ila"}, "again": {"kind": "ila", "stream": 1, "initial": 2.0}},
        {"ila": {"kind": "ila"}, "again": {"kind": "norm", "stream": 1}},
    ],
)
def test_scorers_that_differ_in_more_or_less_than_the_stream_are_no_repeats(scorers: dict[str, dict[str, Any]]) -> None:
    world = World(8, common=1.0, training=0.5)
    found = replicates([world.table(name, "d", choice["kind"]) for name, choice in scorers.items()], study(scorers))
    assert [each.scorer for each in found] == list(scorers)


def test_components_keep_rows_and_data_sets_apart() -> None:
    world = World(9, common=1.0, data=0.8, rows=0.8, training=0.3)
    recipe = study(None, *halves("d", "e", "f"))
    (found,) = replicates([world.table("ila", data["name"]) for data in halves("d", "e", "f")], recipe)
    assert found.nested.shape == (3, 2, SEEDS, 1, N)
    parts = {row.component: row for row in component_rows(found, grid_of(UNITS), 0.95)}
    assert parts["sample of rows"].df == 3
    assert parts["sample of rows"].low is not None
    assert parts["sample of rows"].share == pytest.approx(0.64 / 2.37, abs=0.12)
    rows = {(row.quantity, row.data): row for row in stability_rows(found, (K,), grid_of(UNITS), 0.95)}
    assert rows["within", "d-0"].value > rows["other half", "d-0 + d-1"].value
    assert rows["other half", None].value > rows["between", None].value
