from __future__ import annotations

from pathlib import Path

from tests.torture import data
from tests.torture.harness import survey


def test_damaged_data_files_get_one_message_with_their_place(tmp_path: Path) -> None:
    found = survey("data", data.trials(42, tmp_path))
    assert found.faults == []
    assert found.counts["told"] > 20
    assert found.counts["accepted"] > 2
