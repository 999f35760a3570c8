"""Gains and contributions of single units from losses with a known answer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from layersig.jsonform import jsonl
from layersig.layers import Unit
from layersig.records import EVERYTHING, UNTRAINED, Cell, Ranking
from layersig.topics.contribution.compute import contribution_rows
from layersig.topics.contribution.rows import CONTRIBUTIONS
from layersig.topics.contribution.section import section
from tests.findings.recipes import recipe_of

GROUPS = 20


def evidence(folder: Path, gains: dict[str, float], noise: float = 0.05, fresh_noise: float | None = None) -> object:
    """A run in which training a unit lowers the loss by so much on average, and everything by 1."""
    rng = np.random.default_rng(0)
    base = {half: 5 + rng.normal(size=GROUPS) for half in ("chosen_by", "fresh")}
    lines = [{"trained": UNTRAINED, **{half: list(values) for half, values in base.items()}}]
    for name, gain in {EVERYTHING: 1.0, **gains}.items():
        row = {"trained": name}
        for half, values in base.items():
            moved = noise * rng.normal(size=GROUPS) if gain else np.zeros(GROUPS)
            row[half] = list(values - gain - moved)
        lines.append(row)
    path = folder / "trajectories" / "alone" / "d" / "seed-0.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(jsonl(lines))
    recipe = recipe_of(scorers={"alone": {"kind": "layer-contribution"}})
    ranking = Ranking(Unit.BLOCK, gains)
    groups = tuple(SimpleNamespace(name=name, block=number) for number, name in enumerate(gains))
    files = SimpleNamespace(
        path=folder,
        rankings=[SimpleNamespace(cell=Cell(scorer="alone", data="d", seed=0), ranking=ranking)],
        groups=lambda unit: groups,
    )
    return SimpleNamespace(files=files, recipe=recipe, arms=SimpleNamespace(level=0.95)), lines


def test_gains_add_up_and_contributions_are_ratios(tmp_path: Path) -> None:
    gains = {"a": 0.25, "b": 0.75, "c": 0.0}
    found, lines = evidence(tmp_path, gains)
    rows = {row.layer: row for row in contribution_rows(found)}
    assert list(rows) == list(gains)
    by_name = {line["trained"]: line for line in lines}
    for name, row in rows.items():
        fall = np.subtract(by_name[UNTRAINED]["chosen_by"], by_name[name]["chosen_by"])
        whole = np.subtract(by_name[UNTRAINED]["chosen_by"], by_name[EVERYTHING]["chosen_by"])
        assert row.gain == pytest.approx(fall.mean())
        assert row.contribution == pytest.approx(fall.mean() / whole.mean())
        assert row.contribution == pytest.approx(gains[name], abs=0.05)
        assert (row.block, row.groups) == ("abc".index(name), GROUPS)
        # Fieller: the ends are where a t test of the difference just rejects.
        if name != "c":
            for end in (row.contribution_low, row.contribution_high):
                t = stats.ttest_1samp(fall - end * whole, 0.0).pvalue
                assert t == pytest.approx(0.05, abs=1e-6)
    assert rows["c"].gain == rows["c"].low == rows["c"].high == 0
    assert rows["c"].adjusted_p == 1
    assert rows["b"].adjusted_p < 0.001


def test_the_band_covers_all_units_at_once_and_is_wider_than_single_intervals(tmp_path: Path) -> None:
    names = {f"u{number}": 1e-9 for number in range(20)}
    found, _ = evidence(tmp_path, names, noise=1.0)
    rows = list(contribution_rows(found))
    covered = [row.low <= 0 <= row.high for row in rows]
    assert all(covered)
    assert min(row.adjusted_p for row in rows) > 0.05
    single = 2 * stats.t.ppf(0.975, GROUPS - 1) * np.std([row.gain for row in rows])
    assert min(row.high - row.low for row in rows) > single


def test_the_best_of_many_equal_units_is_not_better_on_fresh_conversations(tmp_path: Path) -> None:
    """The winner's curse: all units gain .2, and the best one seems to gain more where it was chosen."""
    found, _ = evidence(tmp_path, {f"u{number}": 0.2 for number in range(40)}, noise=0.6)
    rows = list(contribution_rows(found))
    best = max(rows, key=lambda row: row.gain)
    assert best.gain > 0.4
    assert best.fresh_gain == pytest.approx(0.2, abs=0.27)
    assert best.fresh_gain < best.gain
    shown = repr(section(SimpleNamespace(findings={CONTRIBUTIONS: rows})))
    assert best.layer in shown
    assert "on fresh conversations" in shown


def test_a_full_training_that_gains_nothing_leaves_the_ratio_open(tmp_path: Path) -> None:
    found, lines = evidence(tmp_path, {"a": 0.3}, noise=0.5)
    path = tmp_path / "trajectories" / "alone" / "d" / "seed-0.jsonl"
    everything = next(line for line in lines if line["trained"] == EVERYTHING)
    rng = np.random.default_rng(5)
    for half in ("chosen_by", "fresh"):
        everything[half] = list(np.array(lines[0][half]) - rng.normal(size=GROUPS))
    path.write_text(jsonl(lines))
    (row,) = contribution_rows(found)
    assert row.shape != "interval"
    assert section(SimpleNamespace(findings={CONTRIBUTIONS: [row]})) is not None
