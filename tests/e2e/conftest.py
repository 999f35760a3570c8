from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.e2e.world import Run, Told, World
from tests.study import write_study


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYERSIG_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """A tiny study with an untied head, run for the first time."""
    base = tmp_path_factory.mktemp("world")
    return World(base, write_study(base, tied=False)).run()


@pytest.fixture(scope="session")
def first(told: Told) -> Run:
    """Its run folder, as it was before anything else was run."""
    return Run(Path(shutil.copytree(told.run.path, told.base / "first" / "tiny" / told.run.path.name)))


@pytest.fixture(scope="session")
def world(first: Run, told: Told) -> World:
    """Where it ran; all tests of the session share its cache."""
    return World(told.base, told.base / "recipe.toml")
