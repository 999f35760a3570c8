"""A few trials of every kind that is cheap; `make torture` runs thousands."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from layersig.errors import UserError
from tests.torture.__main__ import run
from tests.torture.harness import Survey, Trial, survey
from tests.torture.page import write_page


@pytest.mark.parametrize(("kind", "count"), [("recipes", 60), ("folders", 5)])
def test_damaged_inputs_are_accepted_or_told(kind: str, count: int) -> None:
    found = run(kind, count)
    assert found.faults == []
    assert found.total == count
    assert found.counts["told"] > 0


def test_what_must_not_happen_is_a_fault(tmp_path: Path) -> None:
    def raises(error: BaseException) -> None:
        raise error

    found = survey(
        "x",
        [
            Trial("fine", lambda: None, "a.toml"),
            Trial("told", lambda: raises(UserError("a.toml:1: wrong")), "a.toml"),
            Trial("nowhere", lambda: raises(UserError("wrong")), "a.toml"),
            Trial("raw", lambda: raises(RecursionError()), "a.toml"),
            Trial("ends", lambda: raises(SystemExit(3)), "a.toml"),
        ],
    )
    assert found.counts == {"accepted": 1, "told": 1, "without a place": 1, "raw": 2}
    assert [name for name, _ in found.faults] == ["nowhere", "raw", "ends"]


def test_the_page_keeps_the_rows_of_other_kinds(tmp_path: Path) -> None:
    page = tmp_path / "torture.md"
    for kind in ("recipes", "folders", "recipes"):
        write_page(page, survey(kind, [Trial("fine", lambda: None, "x")] * 2))
    assert page.read_text().count("| recipes | 2 | 2 | 0 | 0 |") == 1
    assert page.read_text().count("| folders | 2 | 2 | 0 | 0 |") == 1


def test_rows_of_the_section_on_kills_are_none_of_the_table(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    write_page(page, Survey("data", Counter(accepted=3)))
    write_page(page, Survey("kills", Counter(accepted=1), notes=Counter({"time: data": 1})))
    write_page(page, Survey("folders", Counter(told=2)))
    text = page.read_text()
    assert "| data | 3 | 3 | 0 | 0 | 0.0 s |" in text
    assert "| data | 1 | 0 | 0 |" in text
    assert "| folders | 2 | 0 | 2 | 0 | 0.0 s |" in text
