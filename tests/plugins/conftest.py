"""The packages of `plugins/`, installed for the length of a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.installing import installed

PACKAGES = Path(__file__).parents[2] / "plugins"


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Every package, on the path."""
    folders = sorted(path.parent for path in PACKAGES.glob("*/pyproject.toml"))
    with installed(folders, tmp_path / "site", monkeypatch):
        yield PACKAGES
