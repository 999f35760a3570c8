"""Spreads from a pilot: a finished run stands in for what is otherwise assumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from layersig.analysis.power import detectable_difference
from layersig.errors import UserError
from layersig.findings.outcomes import Measure, outcome_tables
from layersig.planning.declared import DeclaredComparison
from layersig.planning.facts import Facts
from layersig.planning.precision import detectable, precision
from layersig.planning.spreads import Pilot, pilot_of, spread_of
from layersig.records import Cell, Outcome
from layersig.store.runfolder import RunFolder
from tests.cli.test_compare import pooled
from tests.manifests import manifest, source
from tests.planning.studies import write
from tests.planning.test_precision import _facts

LOSS = Measure("heldout/chats", "loss")
SEED, ITEM, RESIDUAL, GAIN = 0.05, 0.1, 0.2, 0.4


def _pilot(
    seeds: int,
    items: int,
    arms: tuple[str, ...] = ("ila-30",),
    clusters: int | None = None,
    measure: Measure = LOSS,
    **changed: float,
) -> Pilot:
    """A run whose arms differ from all layers by known variances, and all layers gain `GAIN` nats.

    Items vary by themselves, also where they are in clusters: equal ones, so that clusters make no difference.
    """
    rng = np.random.default_rng(seeds)
    own = {"seed": SEED, "item": ITEM, "residual": RESIDUAL, **changed}
    base = 2 + rng.standard_normal(items)
    cells = [(Cell(arm="base"), base)]
    for seed in range(seeds):
        every = base - GAIN
        cells.append((Cell(arm="all-layers", data="chats", seed=seed), every))
    for arm in arms:
        by_item = own["item"] * rng.standard_normal(items)
        for seed in range(seeds):
            shift = own["seed"] * rng.standard_normal() + by_item + own["residual"] * rng.standard_normal(items)
            cells.append((Cell(arm=arm, data="chats", seed=seed), base - GAIN + shift))
    evaluations = [
        (
            cell,
            [
                Outcome(measure.task, str(number), measure.metric, float(value), cluster=_of(number, clusters))
                for number, value in enumerate(values)
            ],
        )
        for cell, values in cells
    ]
    pilot = Pilot(RunFolder(Path("runs/pilot/000000000000")))
    pilot.__dict__["outcomes"] = outcome_tables(evaluations)
    return pilot


def _of(item: int, clusters: int | None) -> str | None:
    return None if clusters is None else f"c{item % clusters}"


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return _facts(write(tmp_path_factory.mktemp("pilot"), "lora"), ("seeds=[0,1,2]",), ("rows.chats=106",))


def _wanted(facts: Facts, kind: str = "comparison", arm: str = "ila-30") -> DeclaredComparison:
    return DeclaredComparison(kind, arm, "all-layers", "chats", LOSS, len(facts.recipe.seeds), 6)  # type: ignore[arg-type]


def test_several_runs_show_every_component(facts: Facts) -> None:
    found = spread_of(facts, _wanted(facts), _pilot(40, 400))
    assert np.sqrt(found.seen) == pytest.approx([SEED, ITEM, RESIDUAL], rel=0.25)
    # Planned safely, but of so large a pilot hardly more.
    assert all(seen <= planned <= 1.5 * seen for seen, planned in zip(found.seen, found.planned, strict=True))
    assert found.origin == "pilot pilot/000000000000"
    assert found.gain == pytest.approx(GAIN, abs=1e-6)


def test_a_small_pilot_is_planned_with_more_caution(facts: Facts) -> None:
    small, large = (spread_of(facts, _wanted(facts), _pilot(seeds, 100)) for seeds in (3, 40))
    ratios = [each.planned[2] / each.seen[2] for each in (small, large)]
    assert ratios[0] > ratios[1] > 1


def test_one_run_shows_items_alone(facts: Facts) -> None:
    found = spread_of(facts, _wanted(facts), _pilot(1, 4000))
    assert found.seen[1] + found.seen[2] == pytest.approx(ITEM**2 + RESIDUAL**2, rel=0.1)
    assert found.seen[0] == pytest.approx(facts.assumed.spreads["loss.seed"] ** 2)
    assert "assumed between runs" in found.origin


@pytest.mark.parametrize("seeds", [1, 20])
def test_clusters_of_independent_items_are_planned_as_the_items_are(tmp_path: Path, seeds: int) -> None:
    asked = ("seeds=[0,1,2]" if seeds > 1 else "seeds=[0]", "data.0.heldout=400")
    facts = _facts(write(tmp_path, "lora"), asked, ("rows.chats=900",))
    alone, clustered = (precision(facts, _pilot(seeds, 4000, clusters=each, seed=0.001)) for each in (None, 200))
    for one, other in zip(alone, clustered, strict=True):
        assert one.declared.items == 400
        # 20 clusters are 400 items with fewer degrees of freedom.
        assert (other.as_seen or 0) == pytest.approx(one.as_seen, rel=0.2)


def test_clusters_are_planned_with_their_own_degrees_of_freedom(tmp_path: Path) -> None:
    facts = _facts(write(tmp_path, "lora"), ("seeds=[0]", "data.0.heldout=40"), ("rows.chats=900",))
    alone, clustered = (precision(facts, _pilot(1, 4000, clusters=each))[0] for each in (None, 400))
    # Four units instead of 40: noncentral t with 3 degrees of freedom.
    few, many = (detectable_difference(n**0.5, n, alpha=alone.level) for n in (4, 40))
    assert (clustered.as_seen or 0) / (alone.as_seen or 1) == pytest.approx(few / many, rel=0.1)
    none = _facts(write(tmp_path / "one", "lora"), ("seeds=[0]", "data.0.heldout=10"), ("rows.chats=900",))
    assert precision(none, _pilot(1, 4000, clusters=400))[0].detectable is None


def test_clusters_are_not_right_or_wrong() -> None:
    # 57 subjects of 246 items: a t test over subjects, not McNemar's over as many items.
    share, spread = Measure("mmlu", "acc"), (0.0, 0.0, 0.001)
    assert detectable(share, 1, 57, spread, 0.05, clustered=True) == detectable_difference(0.001**0.5, 57)
    assert detectable(share, 1, 2, (0.0, 0.0, 9.0), 0.05, clustered=True) == 1.0


@pytest.mark.parametrize(("parts", "cluster"), [("fixed", 1.0), ("sampled", 4.0)])
def test_parts_of_a_pooled_task_are_what_the_planned_recipe_says_they_are(
    tmp_path: Path, parts: str, cluster: float
) -> None:
    pooled(tmp_path, "pilot", {"base": [0.1] * 8})
    asked = (f'analyze.parts="{parts}"',)
    facts = _facts(write(tmp_path, "lora"), asked, ("rows.chats=106",))
    pilot = pilot_of(facts, "pilot", tmp_path)
    assert pilot is not None
    assert pilot.cluster(Measure("choice", "loss")) == cluster


def test_a_smoke_run_is_no_pilot(tmp_path: Path) -> None:
    facts = _facts(write(tmp_path, "lora"), (), ("rows.chats=106",))
    model = source("model", "model", digest="d" * 64, resolved="path:m")
    known = replace(facts.known, sources={"source/model": SimpleNamespace(digest="d" * 64)})  # type: ignore[dict-item]
    facts = replace(facts, known=known)
    for name, smoke in (("full", False), ("smoke", True)):  # the smoke run is the newer one
        pooled(tmp_path / "runs", name, {"base": [0.1] * 8})
        folder = RunFolder(tmp_path / "runs" / name / "0123456789ab")
        told = {"finished": f"2026-01-0{1 + smoke}", "status": "complete", "smoke": smoke}
        folder.save_manifest(manifest(name=name, sources=[model], **told))
    found = pilot_of(facts, None, tmp_path / "runs")
    assert found is not None
    assert found.name.startswith("full/")
    with pytest.raises(UserError, match="--pilot smoke: a smoke run tells nothing of a study"):
        pilot_of(facts, "smoke", tmp_path / "runs")


def test_another_arm_of_the_pilot_stands_in(facts: Facts) -> None:
    found = spread_of(facts, _wanted(facts, arm="mine"), _pilot(40, 400, ("other",)))
    assert np.sqrt(found.seen) == pytest.approx([SEED, ITEM, RESIDUAL], rel=0.25)


def test_a_claim_is_planned_with_what_arms_keep_beyond_their_share(facts: Facts) -> None:
    # All layers do not vary here, so what is kept varies as the difference does.
    found = spread_of(facts, _wanted(facts, "as good"), _pilot(40, 400), 0.9)
    assert np.sqrt(found.seen) == pytest.approx([SEED, ITEM, RESIDUAL], rel=0.25)


def test_an_outcome_that_the_pilot_lacks_is_assumed(facts: Facts) -> None:
    wanted = DeclaredComparison("comparison", "ila-30", "all-layers", "chats", Measure("choice", "acc"), 3, 100)
    assert "assumed" in spread_of(facts, wanted, _pilot(3, 20)).origin


def test_what_is_stated_counts_more_than_a_pilot(tmp_path: Path) -> None:
    stated = _facts(write(tmp_path, "lora"), (), ("rows.chats=106", "loss.item=7", "gain=3"))
    found = spread_of(stated, _wanted(stated), _pilot(3, 20))
    assert (found.planned[1], found.origin, found.gain) == (49.0, "stated", 3.0)


def test_a_gain_of_the_pilot_warns_of_designs_that_cannot_tell(facts: Facts) -> None:
    noisy = precision(facts, _pilot(3, 50, residual=20.0))
    assert any("keeps nothing of the gain" in said for said in noisy[0].warnings)
    quiet = precision(facts, _pilot(3, 50, seed=1e-5, item=1e-5, residual=1e-5))
    assert not any(each.warnings for each in quiet)
    assert quiet[1].gain == pytest.approx(GAIN, abs=1e-4)
