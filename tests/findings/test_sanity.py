"""Sanity of scores: rules of place, ties, and nonsense in place of the data."""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest

from layersig.analysis.positions import RULES
from layersig.findings.rankings import ScoreTable
from layersig.findings.rows.layers import LayerRow
from layersig.findings.unit_grid import grid_of
from layersig.recipe.schema import CONTROL_KINDS
from layersig.records import Cell
from layersig.report.document import Bullets
from layersig.report.numbers import p_value
from layersig.topics.sanity.compute import FITTED, sanity_rows, text_rows, tie_rows
from layersig.topics.sanity.rows import SANITY, TEXTS, TIES, TextRow
from layersig.topics.sanity.section import section
from layersig.topics.stability.replicates import replicates
from layersig.topics.stability.sharing import sharing_rows
from tests.findings.recipes import recipe_of

BLOCKS = [LayerRow(number=n, layer=f"b.{n}", block=n, kind="block", parameters=100) for n in range(30)]
GRID = grid_of(BLOCKS)
K = 10


def table(scores: np.ndarray, data: str | None = "d", scorer: str = "s") -> ScoreTable:
    seeds = tuple(range(len(scores))) if len(scores) > 1 else (None,)
    return ScoreTable(Cell(scorer=scorer, data=data), scorer, seeds, scores, 0)


def rules_of(*tables: ScoreTable) -> dict[str, object]:
    return {row.rule: row for row in sanity_rows(tables, (K,), GRID, 0.95)}


def test_scorers_by_place_and_by_chance_are_controls() -> None:
    assert set(CONTROL_KINDS) == {"random", *RULES}


@pytest.mark.parametrize(
    ("rule", "top"),
    [("first-k", range(4)), ("last-k", range(26, 30)), ("middle", range(13, 17)), ("ends", (0, 1, 2, 29))],
)
def test_rules_take_the_places_that_they_are_named_after(rule: str, top: object) -> None:
    scores = RULES[rule](30)
    assert len(set(scores)) == 30  # no ties
    assert {int(place) for place in np.argsort(-scores)[:4]} == set(top)
    found = rules_of(table(scores[None]))
    assert found[rule].kappa == pytest.approx(1)
    assert max(found.values(), key=lambda row: row.kappa * (row.rule != FITTED)).rule == rule


def test_a_smooth_score_is_its_fit_and_a_rough_one_is_not() -> None:
    depth = np.linspace(-1, 1, 30)
    assert rules_of(table((depth - 0.3)[None] ** 2))[FITTED].kappa == pytest.approx(1)
    rough = np.random.default_rng(0).normal(size=(6, 30))
    row = rules_of(table(rough))[FITTED]
    assert abs(row.kappa) < 0.2  # fitted to other runs, so that a fit to noise predicts nothing
    assert row.ceiling == pytest.approx(np.mean([overlap(a, b) for a, b in combinations(rough, 2)]))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    shared = len(set(np.argsort(-a)[:K]) & set(np.argsort(-b)[:K]))
    return (shared * 30 - K * K) / (K * (30 - K))


def test_intervals_hold_the_mean_overlap_and_need_three_runs() -> None:
    rng = np.random.default_rng(3)
    runs = RULES["ends"](30) + rng.normal(size=(5, 30)) * 8
    row = rules_of(table(runs))["ends"]
    each = np.array([overlap(run, RULES["ends"](30)) for run in runs])
    half = 2.776 * each.std(ddof=1) / 5**0.5
    assert (row.kappa, row.low, row.high) == pytest.approx(
        (each.mean(), each.mean() - half, each.mean() + half), abs=1e-3
    )
    assert rules_of(table(runs[:2]))["ends"].low is None


def test_sparse_scores_of_independent_runs_agree_by_chance() -> None:
    """A fifth of the scores are not zero; in model order the zeros would make any two of them agree."""
    rng = np.random.default_rng(1)
    sparse = np.where(rng.random((40, 30)) < 0.2, rng.random((40, 30)), 0.0)
    assert np.mean([overlap_in_order(a, b) for a, b in combinations(sparse, 2)]) > 0.15
    row = rules_of(table(sparse))["first-k"]
    assert abs(row.ceiling) < 0.05
    assert abs(row.kappa) < 0.1
    (tie,) = tie_rows([table(sparse)], (K,), BLOCKS)
    assert tie.tied == pytest.approx(np.mean((sparse == 0).sum(1)))
    assert tie.undecided == pytest.approx(np.mean(np.maximum(0, K - (sparse > 0).sum(1))))


def overlap_in_order(a: np.ndarray, b: np.ndarray) -> float:
    shared = len(set(np.argsort(-a, kind="stable")[:K]) & set(np.argsort(-b, kind="stable")[:K]))
    return (shared * 30 - K * K) / (K * (30 - K))


def test_a_score_that_is_the_size_correlates_with_it() -> None:
    units = [unit.model_copy(update={"parameters": 10 + unit.number % 3}) for unit in BLOCKS]
    scores = np.array([[float(unit.parameters) for unit in units]])
    (tie,) = tie_rows([table(scores)], (K,), units)
    assert (tie.size_correlation, tie.tied) == (pytest.approx(1), 30)
    (tie,) = tie_rows([table(scores)], (K,), BLOCKS)
    assert tie.size_correlation is None


def nonsense_study(task: float, seeds: int = 5, noise: float = 0.3, alike: bool = False, margin: float = 0.9):
    """Rankings of some seeds on two data sets and on nonsense.

    `task` is what the data set adds to the scores, and `alike` that all of them have the noise of a seed in common.
    """
    rng = np.random.default_rng(2)
    recipe = recipe_of(
        data=(
            {"name": "d", "source": "pypi:y"},
            {"name": "e", "source": "pypi:z"},
            {"name": "n", "source": "pypi:y", "text": "random-tokens"},
        ),
        seeds=tuple(range(seeds)),
        analyze={"sharing_margin": margin},
    )
    model = rng.normal(size=30)
    parts = {name: model + task * rng.normal(size=30) for name in "den"}
    drawn = rng.normal(size=(3, seeds, 30))
    tables = [
        table(part + noise * drawn[0 if alike else place], name) for place, (name, part) in enumerate(parts.items())
    ]
    sharing = sharing_rows(replicates(tables, recipe), (K,), "m", recipe)
    return tables, list(text_rows(tables, (K,), sharing, recipe))


@pytest.mark.parametrize(("task", "same"), [(0.0, True), (5.0, False)])
def test_a_ranking_that_measures_the_model_alone_is_told_from_one_of_the_task(task: float, same: bool) -> None:
    tables, rows = nonsense_study(task)
    assert [(row.a, row.b, row.text) for row in rows] == [
        ("d", "e", "natural"),
        ("d", "n", "random-tokens"),
        ("e", "n", "random-tokens"),
    ]
    for row in rows:
        assert row.ceiling > 0.5
        assert (row.ratio > 0.85) is same
        assert row.lower is not None
        assert row.adjusted_p is not None
    found = {
        SANITY: list(sanity_rows(tables, (K,), GRID, 0.95)),
        TIES: list(tie_rows(tables, (K,), BLOCKS)),
        TEXTS: rows,
    }
    shown = section(SimpleNamespace(findings=found))
    assert shown is not None
    words = repr(shown)
    assert "random tokens" in words
    assert "may be a rule of place" not in words


def said_of(tables: list[ScoreTable], rows: list[TextRow]) -> list[str]:
    """What is warned of the text."""
    found = {SANITY: sanity_rows(tables, (K,), GRID, 0.95), TIES: tie_rows(tables, (K,), BLOCKS), TEXTS: rows}
    shown = section(SimpleNamespace(findings={each: list(of) for each, of in found.items()}))
    assert shown is not None
    return [text for block in shown.blocks if isinstance(block, Bullets) for (text,) in block.items if "depend" in text]


def test_a_ranking_is_said_not_to_depend_on_the_text_where_the_sharing_test_shows_it() -> None:
    tables, rows = nonsense_study(0.0, 8, 0.08)
    assert {row.verdict for row in rows} == {"shares layers"}
    first, second = said_of(tables, rows)
    assert first.startswith("The top 10 of s on d hardly depends on what the data say: with random tokens (n)")
    assert f"corrected p {p_value(rows[1].adjusted_p)})" in first
    assert "on e hardly" in second
    tables, rows = nonsense_study(0.0, 8, 0.08, margin=1.0)
    assert min(row.lower for row in rows) > 0.9
    assert said_of(tables, rows) == [], "the margin of the recipe"


def test_a_ranking_is_not_said_to_ignore_the_text_where_the_sharing_test_gives_no_verdict() -> None:
    tables, rows = nonsense_study(0.0, 4, 0.08)
    assert min(row.lower for row in rows) > 0.9
    assert said_of(tables, rows) == [], "fewer than five seeds"
    tables, rows = nonsense_study(0.0, 5, 0.0)
    assert {row.verdict for row in rows} == {"no noise: the seeds of a data set rank alike"}
    assert said_of(tables, rows) == [], "no noise to compare with"


def test_a_ranking_that_is_the_same_on_every_text_is_said_to_be() -> None:
    tables, rows = nonsense_study(0.0, 5, alike=True)
    assert {row.verdict for row in rows} == {"the same layers in every run"}
    first, _ = said_of(tables, rows)
    assert first == (
        "The top 10 of s on d does not depend on what the data say: it is the same with random tokens (n), with every "
        "seed."
    )


def test_natural_text_alone_says_nothing_of_texts() -> None:
    recipe = recipe_of(data=({"name": "d", "source": "pypi:y"}, {"name": "e", "source": "pypi:z"}))
    runs = np.random.default_rng(0).normal(size=(2, 30))
    assert list(text_rows([table(runs, "d"), table(runs, "e")], (K,), (), recipe)) == []


def test_warnings_name_rules_and_ties() -> None:
    tables = [table(RULES["ends"](30)[None], None, "cka"), table(np.zeros((1, 30)), None, "flat")]
    found = {SANITY: list(sanity_rows(tables, (K,), GRID, 0.95)), TIES: list(tie_rows(tables, (K,), BLOCKS)), TEXTS: []}
    words = repr(section(SimpleNamespace(findings=found)))
    assert "The top 10 of cka on no data may be a rule of place: ends agrees with kappa 1.00." in words
    assert "Scores do not decide all of the top 10 of flat on no data: 10 places are tied" in words
