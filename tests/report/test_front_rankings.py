"""The first screen of a run that only ranks: what rankings hold, how far seeds agree, what was declared of them."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layersig.analysis.assay import AssayResult
from layersig.findings.rows.arms import ASSAYS, RESULTS
from layersig.findings.rows.layers import CONCENTRATION, LAYERS
from layersig.recipe.schema import RESERVED_ARMS
from layersig.report.document import Bullets, Code, Heading, Table, plain
from layersig.report.material import Material
from layersig.report.numbers import fixed, percent
from layersig.topics.analyse import analyse
from layersig.topics.block_agreement.rows import BlockCorrelationRow
from layersig.topics.brief import brief
from layersig.topics.ceilings.rows import CEILINGS
from layersig.topics.dependence.rows import DependenceRow
from layersig.topics.front.declared import declared_of_rankings
from layersig.topics.front.page import first_screen
from layersig.topics.milestones.rows import MilestoneRow
from layersig.topics.render import material_of
from layersig.topics.rigor.rows import RIGOR
from layersig.topics.stability.rows import SHARING
from tests.report.screens import STUDY, block, changed, headline, limits, lines, shuffled
from tests.report.studies import Study
from tests.report.synthetic import write_run

DATA = ("alpaca", "dolly", "lima", "code")


@pytest.mark.parametrize(
    ("order", "first"),
    [
        pytest.param(("ila", "gradient-norm"), "ila", marks=pytest.mark.slow),
        (("gradient-norm", "ila"), "gradient-norm"),
    ],
)
def test_without_arms_it_names_what_the_first_scorer_puts_first(
    tmp_path: Path, order: tuple[str, ...], first: str
) -> None:
    run = tmp_path / "run"
    recipe = write_run(run, replace(STUDY, tasks=(), heldout=4))
    for name in ("selections.jsonl", "metrics.jsonl"):
        (run / name).write_text("")
    scorers = {"random": recipe.scorers["random"], **{name: recipe.scorers[name] for name in order}}
    analyze = recipe.analyze.model_copy(update={"primary": ()})
    analyse(run, recipe.model_copy(update={"arms": (), "scorers": scorers, "analyze": analyze}))
    material = material_of(run)
    assert (
        headline(material) == f"This run ranks layers by {first} on alpaca (4 seeds); no choice of layers was measured."
    )
    (text,) = block(material, Bullets).items
    assert text[1] == Code(first)
    names = {row.layer for row in material.findings[LAYERS]}
    assert len([part for part in text if isinstance(part, Code) and part.text in names]) == 3
    k = material.findings.sizes[0]
    (ceiling,) = [row for row in material.findings[CEILINGS] if row.scorer == first and row.k == k]
    assert ceiling.above_chance
    figures = f"kappa {fixed(ceiling.kappa, 2)} [{fixed(ceiling.low, 2)}, {fixed(ceiling.high, 2)}], 95 % interval."
    assert plain(text).endswith(f"The seeds agree above chance: {figures}")


def test_without_arms_it_says_what_all_layers_do_on_every_task(tmp_path: Path) -> None:
    run = tmp_path / "run"
    recipe = write_run(run, STUDY)
    (run / "selections.jsonl").write_text("")
    for folder in (run / "evaluations").iterdir():
        if folder.name not in RESERVED_ARMS:
            shutil.rmtree(folder)
    analyze = recipe.analyze.model_copy(update={"primary": ("all-layers",), "baseline": "base"})
    analyse(run, recipe.model_copy(update={"arms": (), "analyze": analyze}))
    material = material_of(run)
    table = block(material, Table)
    values = {(row.task, row.arm): row.value for row in material.findings[RESULTS] if row.primary}
    gains = {row.task: row for row in material.findings[ASSAYS] if row.primary}
    assert {row[0] for row in table.rows} == set(gains) == {"arc_easy", "heldout/alpaca"}
    for task, _, data, untouched, tuned, gain, _, shown in table.rows:
        assert data == "alpaca"
        written = [
            percent(values[task, arm], 1) if task == "arc_easy" else fixed(values[task, arm], 4)
            for arm in RESERVED_ARMS
        ]
        assert [untouched, tuned] == written
        better = values[task, "all-layers"] > values[task, "base"]
        assert gain.startswith("+") is (better is gains[task].higher_is_better)
        said = {
            AssayResult.GAIN: "a gain beyond the margin",
            AssayResult.NOT_SHOWN: "neither gain nor loss beyond the margin",
        }
        assert shown == said[AssayResult(gains[task].moved)]
    (row,) = [row for row in material.findings[RIGOR] if row.item == "alternative explanations"]
    assert row.status == "does not apply"  # nothing was chosen that chance could have chosen
    shown = " ".join(brief(material).split())
    assert all(" ".join(plain((cell,)) for cell in row) in shown for row in table.rows)


def ranked_alone(run: Path, study: Study, noise: str) -> Material:
    """A run of rankings alone; those of one data set have no more than chance in common."""

    def change(line: dict[str, Any]) -> dict[str, Any]:
        return shuffled(line["seed"])(line) if line["data"] == noise else line

    recipe = write_run(run, study)
    for name in ("selections.jsonl", "metrics.jsonl"):
        (run / name).write_text("")
    lines(run, change)
    analyze = recipe.analyze.model_copy(update={"primary": (), "resamples": 100})
    analyse(run, recipe.model_copy(update={"arms": (), "analyze": analyze}))
    return material_of(run)


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Material:
    study = replace(STUDY, data=DATA, seeds=(0, 1, 2, 3, 4), tasks=(), heldout=4)
    return ranked_alone(tmp_path_factory.mktemp("rankings") / "run", study, "dolly")


def test_rankings_of_many_data_sets_are_rows_of_a_table(four: Material) -> None:
    material = four
    assert (
        headline(material) == "This run ranks layers by ila on 4 data sets (5 seeds); no choice of layers was measured."
    )
    assert "not whether tuning or removing these does better than tuning or removing others" in limits(material)
    table = block(material, Table)
    assert [row[1] for row in table.rows] == sorted(DATA)
    heads = [column.head for column in table.columns]
    assert heads[:5] == ["scorer", "ranked on", "kappa of two seeds", "most of", "least of"]
    assert "Kappa, with its 95 % interval: " in table.caption
    k = material.findings.sizes[0]
    for row in table.rows:
        (ceiling,) = [c for c in material.findings[CEILINGS] if (c.scorer, c.data, c.k) == ("ila", row[1], k)]
        assert row[2] == f"{fixed(ceiling.kappa, 2)} [{fixed(ceiling.low, 2)}, {fixed(ceiling.high, 2)}]"
        held = {
            (c.by, c.group): c.share
            for c in material.findings[CONCENTRATION]
            if (c.scorer, c.data, c.k) == ("ila", row[1], k)
        }
        assert ceiling.above_chance is (row[1] != "dolly")
        if row[1] == "dolly":
            assert set(row[3:]) == {"\u2013"}
            continue
        types = {group: share for (by, group), share in held.items() if by == "kind"}
        for cell, share in zip(row[3:5], (max(types.values()), min(types.values())), strict=True):
            name, _, said = plain((cell,)).partition(" ")
            assert types[name] == share
            assert said == percent(share)
        assert list(row[5:]) == [percent(held["depth", head]) for head in heads[5:]]
    text = " ".join(brief(material).split())
    assert all(" ".join(plain((cell,)) for cell in row) in text for row in table.rows)


def test_what_was_declared_of_rankings_comes_with_its_verdict(four: Material) -> None:
    assert "Declared tests of rankings" not in [
        each.text for each in first_screen(four)[1] if isinstance(each, Heading)
    ]
    assert "Declared tests" not in brief(four)
    material = changed(four, "sharing", lambda row: row.scorer == "ila", declared=True)
    told = [plain(item) for item in first_screen(material)[1][-1].items]
    k, rows = material.findings.sizes[0], [row for row in material.findings[SHARING] if row.declared]
    (together,) = [row for row in rows if row.k == k and row.family == "data sets, together"]
    pairs = Counter(row.verdict for row in rows if row.k == k and row.family == "data sets, two by two")
    assert pairs.total() == 6
    assert told[0].startswith(f"All 4 data sets, by ila (top {k} of 28): {together.verdict}")
    assert told[1].startswith(f"6 pairs of data sets, by ila (top {k} of 28): ")
    assert all(f"{verdict} ({times})" in told[1] for verdict, times in pairs.items())
    assert len(told) == 2
    text = " ".join(brief(material).split())
    assert all(line in text for line in told)


def test_every_kind_of_declared_test_of_rankings_is_told_and_no_other(four: Material) -> None:
    k = four.findings.sizes[0]
    rows = {
        "dependence": [
            DependenceRow.model_construct(
                scorer="ila", quantity="within", property="size", k=size, statistic="tau", value=-0.5,
                declared=declared, adjusted_p=0.04, verdict="falls",
            )
            for size, declared in ((k, True), (k, False), (k + 1, True))
        ],
        "milestones": [
            MilestoneRow.model_construct(
                kind="ila", data="alpaca", checkpoint=checkpoint, k=k, share=0.97, declared=checkpoint > 0.5,
                adjusted_p=0.002, verdict="reached",
            )
            for checkpoint in (0.25, 0.75)
        ],
        "block_correlations": [
            BlockCorrelationRow.model_construct(
                a="ila", b=other, data="alpaca", checkpoint=1.0, correlation=0.4, low=-0.1, high=0.8, residual=residual,
                declared=True, adjusted_p=0.2,
            )
            for other, residual in (("fisher", 0.1), ("plop", None))
        ],
    }  # fmt: skip
    tables = {**four.findings.tables, **{name: tuple(each) for name, each in rows.items()}}
    material = replace(four, findings=four.findings.model_copy(update={"tables": tables}))
    assert declared_of_rankings(material) == (
        "ila, agreement of seeds against size: falls (tau \u22120.50, p 0.040)",
        "ila after 75 % of the training on alpaca: reached (0.97 of the noise ceiling, p 0.002)",
        "ila and fisher on alpaca: correlation 0.40 [\u22120.10, 0.80] over blocks; beyond depth 0.10, p 0.200",
        "ila and plop on alpaca: correlation 0.40 [\u22120.10, 0.80] over blocks",
    )
