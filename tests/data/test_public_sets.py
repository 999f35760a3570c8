from __future__ import annotations

from pathlib import Path

import pytest

from layersig.data.vocabulary import WORDS, Meaning
from layersig.errors import UserError
from tests.data.public_sets import SETS, PublicSet

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


@pytest.mark.parametrize("each", [each for each in SETS if each.messages], ids=lambda each: each.name)
def test_a_row_becomes_what_the_table_says(tmp_path: Path, each: PublicSet) -> None:
    assert not each.is_refused(tmp_path) or each.fields is not None
    rows = each.read(tmp_path, each.fields)
    assert rows.conversations[0].messages == each.messages
    assert {field.field for field in rows.fields} >= {
        name for name, value in each.row.items() if value not in (None, "")
    }
    assert each.line(tmp_path) in PAGE.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("each", [each for each in SETS if not each.messages], ids=lambda each: each.name)
def test_sets_without_turns_are_refused_with_what_to_do(tmp_path: Path, each: PublicSet) -> None:
    with pytest.raises(UserError, match=r"rows of no known shape; .*write its turns as `messages`"):
        each.read(tmp_path, None)
    row = f"| {each.name} | {each.known_from} | - | - | - | always: "
    assert any(line.startswith(row) for line in PAGE.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("meaning", WORDS)
def test_the_page_lists_the_vocabulary(meaning: Meaning) -> None:
    words = ", ".join(f"`{word}`" for word in WORDS[meaning])
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert any(line.startswith(f"| {meaning} | {words} | ") for line in lines)


def test_there_are_twenty_sets_and_more() -> None:
    assert len({each.name for each in SETS}) == len(SETS) >= 20
