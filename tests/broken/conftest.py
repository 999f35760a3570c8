from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from layersig.cli.main import main
from tests.broken.bench import Bench
from tests.study import write_study


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, run once from an empty cache."""
    folder = tmp_path_factory.mktemp("good")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAYERSIG_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        write_study(folder)
        with pytest.raises(SystemExit) as ended:
            main(["run", "recipe.toml"])
    assert ended.value.code == 0
    return folder


@pytest.fixture
def bench(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Bench]:
    """A copy of the good study to break."""
    shutil.copytree(good, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("LAYERSIG_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:
        yield Bench(tmp_path, monkeypatch, stack, capfd)
