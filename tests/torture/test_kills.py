"""A few kills of a tiny study; `make torture KINDS=kills` kills hundreds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = """
from pathlib import Path
from tests.torture.harness import survey
from tests.torture.kills import trials
found = survey("kills", trials(6, Path({folder!r})))
assert not found.faults, found.faults
assert found.notes.total() == 6, found.notes
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked from this process")
def test_killed_runs_end_as_if_never_killed(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-c", SAMPLE.format(folder=str(tmp_path))],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr[-3000:]
