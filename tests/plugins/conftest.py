"""The packages of `plugins/`, installed for the length of a test: their source and what their pyproject declares."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from layersig.plugin import manager

PACKAGES = Path(__file__).parents[2] / "plugins"


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Puts every package on the path, with the metadata that an installer would write."""
    monkeypatch.delenv("LAYERSIG_PLUGINS", raising=False)
    site = tmp_path / "site"
    for package in sorted(PACKAGES.glob("*/pyproject.toml")):
        project = tomllib.loads(package.read_text(encoding="utf-8"))["project"]
        info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        entries = "".join(f"{name} = {module}\n" for name, module in project["entry-points"]["layersig"].items())
        (info / "entry_points.txt").write_text(f"[layersig]\n{entries}")
        monkeypatch.syspath_prepend(str(package.parent / "src"))
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)
    manager.installed.cache_clear()
    yield PACKAGES
    manager.installed.cache_clear()
    for name in set(sys.modules) - before:
        if name.startswith("layersig_"):
            del sys.modules[name]
