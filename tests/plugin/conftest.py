"""Installed plugins, simulated by a module and a dist-info folder on `sys.path`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from layersig.plugin import manager

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """`install(distribution, module_text, version=..., editable=...)` puts a plugin package on the path."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delenv("LAYERSIG_PLUGINS", raising=False)
    monkeypatch.delenv("LAYERSIG_RAISE_PLUGIN_ERRORS", raising=False)
    before = set(sys.modules)
    manager.installed.cache_clear()

    def put(distribution: str, text: str, *, version: str = "1.0", editable: bool = False) -> Path:
        module = distribution.replace("-", "_")
        package = site / module
        package.mkdir()
        (package / "__init__.py").write_text(text, encoding="utf-8")
        info = site / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[layersig]\n{module} = {module}\n")
        if editable:
            url = {"url": package.as_uri(), "dir_info": {"editable": True}}
            (info / "direct_url.json").write_text(json.dumps(url))
        return package

    yield put
    manager.installed.cache_clear()
    for name in set(sys.modules) - before:
        del sys.modules[name]
