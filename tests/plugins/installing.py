"""Packages of plugins that are installed for the length of a test: their source and what their pyproject declares."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from layersig.plugin import manager


@contextmanager
def installed(packages: Iterable[Path], site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Puts packages on the path, with the metadata that an installer would write into `site`."""
    monkeypatch.delenv("LAYERSIG_PLUGINS", raising=False)
    for package in packages:
        project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        entries = "".join(f"{name} = {module}\n" for name, module in project["entry-points"]["layersig"].items())
        (info / "entry_points.txt").write_text(f"[layersig]\n{entries}")
        monkeypatch.syspath_prepend(str(package / "src"))
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)
    manager.installed.cache_clear()
    yield
    manager.installed.cache_clear()
    for name in set(sys.modules) - before:
        if name.startswith("layersig_"):
            del sys.modules[name]
