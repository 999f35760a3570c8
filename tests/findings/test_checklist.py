"""`docs/checklist.md` says what the card gives: its rows, its keys and its counts."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from layersig.recipe.schema import AboutSettings, EvaluateSettings
from layersig.topics.analyse import analyse
from layersig.topics.rigor.rows import RIGOR, RigorRow
from tests.report.studies import Study
from tests.report.synthetic import write_run

PAGE = (Path(__file__).parents[2] / "docs" / "checklist.md").read_text(encoding="utf-8")
REVIEWS = ("Layer significance", "Layer pruning")
KEYS = {f"about.{key}" for key in AboutSettings.model_fields} | {
    f"evaluate.{key}" for key in EvaluateSettings.model_fields
}


def items(review: str) -> list[tuple[str, str, str]]:
    """Item, how, and what the page names for it."""
    section = PAGE.partition(f"\n## {review}\n")[2].partition("\n## ")[0]
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in section.splitlines() if "|" in line]
    return [(row[0], row[1], row[2]) for row in rows[2:]]


EVERY = [item for review in REVIEWS for item in items(review)]


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RigorRow]:
    run = tmp_path_factory.mktemp("checklist") / "run"
    recipe = write_run(run, Study(blocks=2, data=("lima",), seeds=(0,), tasks=(("my_task", 9),), heldout=4, steps=2))
    recipe = recipe.model_copy(update={"analyze": recipe.analyze.model_copy(update={"resamples": 100})})
    return {row.item: row for row in analyse(run, recipe)[RIGOR]}


def test_there_are_49_items() -> None:
    assert [len(items(review)) for review in REVIEWS] == [34, 15]
    assert {how for _, how, _ in EVERY} == {"automatic", "asked for", "excused"}


@pytest.mark.parametrize("row", sorted({where for _, how, where in EVERY if how == "automatic"}))
def test_what_is_automatic_is_a_row_of_the_card_that_asks_for_nothing(card: dict[str, RigorRow], row: str) -> None:
    assert card[row].status in ("met", "not met", "does not apply")
    assert "State `" not in card[row].evidence


@pytest.mark.parametrize("key", sorted({where for _, how, where in EVERY if how == "asked for"}))
def test_what_is_asked_for_is_a_key_that_the_card_names(card: dict[str, RigorRow], key: str) -> None:
    name = key.strip("`")
    assert name in KEYS
    asking = [row for row in card.values() if f"`{name}" in row.evidence]
    assert [row.status for row in asking] == ["asked for"]


def test_every_row_that_asks_is_on_the_page(card: dict[str, RigorRow]) -> None:
    named = set(re.findall(r"`((?:about|evaluate)\.\w+)", PAGE)) | {f"about.{key}" for key in _statements()}
    for row in card.values():
        if row.status == "asked for":
            asked = {".".join(key.split(".")[:2]) for key in re.findall(r"`((?:about|evaluate)\.[\w.]+)", row.evidence)}
            assert asked
            assert asked <= named, row


def _statements() -> list[str]:
    block = PAGE.partition("```toml\n")[2].partition("```")[0]
    return re.findall(r"^(\w+) =", block, re.MULTILINE)


def test_the_statements_shown_are_all_that_there_are() -> None:
    assert set(_statements()) == set(AboutSettings.model_fields)


def test_the_counts_are_those_of_the_rows() -> None:
    for name, rows in (*((review.lower(), items(review)) for review in REVIEWS), ("both", EVERY)):
        counts = Counter(how for _, how, _ in rows)
        cells = [counts["automatic"], counts["asked for"], counts["excused"], len(rows)]
        assert f"| {name} | {' | '.join(map(str, cells))} |" in PAGE


@pytest.mark.parametrize("item", ["generalisation is bounded", "boundaries of the scope"])
def test_what_bounds_a_claim_is_what_its_sentence_names(item: str) -> None:
    (where,) = (where for name, _, where in EVERY if name == item)
    assert where == "scope named in every verdict"


def test_what_is_excused_has_a_reason() -> None:
    assert all(len(where.split()) > 5 for _, how, where in EVERY if how == "excused")
