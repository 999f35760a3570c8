"""A few kills of a tiny study; `make torture KINDS=kills` kills hundreds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from layersig.pipeline import stages
from layersig.plugin.manager import built_in
from layersig.recipe.load import load
from layersig.stages.kinds import SPECS
from tests.torture.kills_studies import STUDIES

KILLS = """
import sys
from pathlib import Path
from tests.torture.harness import survey
from tests.torture.kills import trials
from tests.torture.page import write_page

folder = Path(sys.argv[1])
found = survey("kills", trials(5, folder))
page = folder / "torture.md"
write_page(page, found)
write_page(page, survey("recipes", []))
print(found.faults, found.notes.total())
print(page.read_text())
"""


def test_studies_have_every_kind_of_stage(tmp_path: Path) -> None:
    kinds = set()
    for name, write in STUDIES.items():
        folder = tmp_path / name
        folder.mkdir()
        write(folder, "http://localhost:1/v1")
        recipe = load(folder / "recipe.toml").recipe
        kinds |= {stage.kind for stage in stages(recipe, built_in()).stages}
    assert kinds == set(SPECS)


@pytest.mark.slow
def test_killed_runs_end_as_if_never_killed(tmp_path: Path) -> None:
    # In a process of its own: runs are forked, and one that has run tests has threads, whose locks a fork inherits.
    command = [sys.executable, "-c", KILLS, str(tmp_path)]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[] 5\n"), done.stdout
    assert "5 kills, 0 faults" in done.stdout
