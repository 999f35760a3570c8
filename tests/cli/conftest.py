from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test in a temporary folder: by default verbs write to the current one, here the working tree."""
    monkeypatch.chdir(tmp_path)
