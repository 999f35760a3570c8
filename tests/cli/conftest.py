from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verbs write into the current folder unless they are told otherwise; that is never the working tree."""
    monkeypatch.chdir(tmp_path)
