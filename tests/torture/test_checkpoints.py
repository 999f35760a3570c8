from __future__ import annotations

from pathlib import Path

from tests.torture.checkpoints import trials
from tests.torture.harness import survey


def test_every_family_of_damaged_checkpoints_is_read_or_refused_with_its_place(tmp_path: Path) -> None:
    found = survey("checkpoints", trials(17, tmp_path))
    assert found.faults == []
    assert found.counts["told"] >= 10
