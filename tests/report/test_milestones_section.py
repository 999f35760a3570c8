from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from layersig.report.document import Bullets, Figure, Heading, Paragraph, Table
from layersig.report.numbers import seconds
from layersig.topics.milestones.compute import milestone_rows, successive_rows, with_time
from layersig.topics.milestones.rows import MILESTONES, SUCCESSIVE, TRAININGS, TrainingRow
from layersig.topics.milestones.section import course
from tests.findings.test_milestones import CLEAR, RECIPE, series


def training(**own: object) -> TrainingRow:
    row = TrainingRow(
        arm="all-layers", data="d", seed=0, steps=25, planned_steps=100, continued_from=0, seconds_per_step=2.0,
        seconds_saved=150.0, epsilon=1e-3, window=50, stable_from=None, change=None, noise=None, verdict="too short",
    )  # fmt: skip
    return row.model_copy(update=own)


def shown(trainings: tuple[TrainingRow, ...] = (), seeds: int = 0) -> list[object]:
    tables = series("d", 0.3, CLEAR, seeds) if seeds else []
    findings = {
        TRAININGS: trainings,
        SUCCESSIVE: tuple(successive_rows(tables, (12,), RECIPE)),
        MILESTONES: tuple(with_time(milestone_rows(tables, (12,), RECIPE), trainings)),
    }
    return list(course(SimpleNamespace(findings=findings)))  # type: ignore[arg-type]


def text(blocks: list[object]) -> str:
    return " ".join("".join(map(str, block.text)) for block in blocks if isinstance(block, Paragraph))


def test_nothing_is_said_without_trainings() -> None:
    assert shown() == []


@pytest.mark.parametrize(
    ("rows", "saved", "repeated"),
    [
        ((training(),), "1 training ended after 25 of 100 planned steps (25 %)", None),
        ((training(), training(seed=1)), "2 trainings ended after 50 of 200 planned steps (25 %)", None),
        ((training(steps=100, seconds_saved=0.0),), None, None),
        ((training(continued_from=10),), "about 2 min 30 s saved", "10 steps of 1 training had been done"),
        ((training(steps=100, seconds_saved=0.0, continued_from=25),), None, "about 50.0 s."),
    ],
)
def test_what_was_not_trained_and_what_was_not_repeated(
    rows: tuple[TrainingRow, ...], saved: str | None, repeated: str | None
) -> None:
    blocks = shown(rows)
    said = text(blocks)
    assert ("planned steps" in said) == (saved is not None)
    assert ("not repeated" in said) == (repeated is not None)
    for words in (saved, repeated):
        assert words is None or words in said
    (table,) = [block for block in blocks if isinstance(block, Table)]
    assert table.rows[0][3:5] == (str(rows[0].steps), "100")


def test_a_training_that_its_ranking_ended_is_where_the_questions_page_says() -> None:
    blocks = shown((training(rank_rule="the ranking kept its order three times"),))
    (heading,) = [block.text for block in blocks if isinstance(block, Heading)]
    page = (Path(__file__).parents[2] / "docs" / "questions.md").read_text(encoding="utf-8")
    (line,) = [line for line in page.splitlines() if "`small/until`" in line]
    assert f'"{heading}"' in line
    assert "all-layers on d, seed 0: the ranking kept its order three times." in text(blocks)
    assert "where the ranking was stable" in text(blocks)


def test_a_milestone_has_the_time_of_the_reference_training_up_to_it() -> None:
    # 100 planned steps of 2 and of 4 seconds: 300 s on average.
    trainings = training(), training(seed=1, seconds_per_step=4.0), training(arm="ila-30", seconds_per_step=9.0)
    (*_, table) = [block for block in shown(trainings, 5) if isinstance(block, Table)]
    place = [column.head for column in table.columns].index("time until then")
    after = {row[place - 1]: row[place] for row in table.rows}
    assert len(after) > 1
    (figure,) = [block for block in shown(trainings, 5) if isinstance(block, Figure)]
    for share, time in after.items():
        assert time == seconds(3.0 * float(str(share).removesuffix("%")))
        assert f", {share}, {time}" in figure.svg


@pytest.mark.parametrize(("seeds", "reached"), [(8, True), (3, False), (1, False)])
def test_how_early_the_ranking_is_there(seeds: int, reached: bool) -> None:
    blocks = shown(seeds=seeds)
    heads = [block.text for block in blocks if isinstance(block, Heading)]
    assert heads == ["Stability of the ranking", "How early does the ranking settle?"]
    sentences = [item[0] for block in blocks if isinstance(block, Bullets) for item in block.items]
    assert any("the agreement reaches 0.9 of the ceiling" in sentence for sentence in sentences) == reached
    tables = [block for block in blocks if isinstance(block, Table)]
    assert [table.csv for table in tables] == ["successive.csv", *(["milestones.csv"] if seeds > 1 else [])]
    if seeds == 1:
        assert "With one seed it is not known" in text(blocks)
        assert tables[0].rows[0][5].count("[") == 0
    else:
        (figure,) = [block for block in blocks if isinstance(block, Figure)]
        assert "<svg" in figure.svg
        assert tables[0].rows[0][5].count("[") == 1
