"""A few kills of a tiny study; `make torture KINDS=kills` kills hundreds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.torture.harness import survey
from tests.torture.kills import trials
from tests.torture.page import write_page


@pytest.mark.slow
@pytest.mark.skipif(
    os.environ.get("OMP_NUM_THREADS") != "1", reason="runs are forked: no threads of torch may be there"
)
def test_killed_runs_end_as_if_never_killed(tmp_path: Path) -> None:
    found = survey("kills", trials(5, tmp_path))
    assert found.faults == []
    assert found.notes.total() == 5
    page = tmp_path / "torture.md"
    write_page(page, found)
    write_page(page, survey("recipes", []))
    assert "5 kills, 0 faults" in page.read_text()
