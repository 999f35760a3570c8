"""The Python API on a small run, and the page that explains it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import layersig
from layersig.errors import UserError
from tests.study import RECIPE, write_study

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
SMALL = RECIPE.partition('[[arms]]\nname = "matched-random"')[0]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The names that the code of the page defines, all of it run in order in one folder."""
    folder = tmp_path_factory.mktemp("notebook")
    write_study(folder, recipe=SMALL)
    names: dict[str, Any] = {"folder": folder}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAYERSIG_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        for block in BLOCKS:
            exec(compile(block, str(PAGE), "exec"), names)
        yield names


def test_the_page_runs(page: dict[str, Any]) -> None:
    assert len(BLOCKS) >= 6
    assert page["run"].name.startswith("in-a-cell/")
    assert (page["folder"] / "scores.html").is_file()
    assert not list(page["folder"].glob(".recipe-*"))


def test_tables_have_the_rows_of_the_csv_files(page: dict[str, Any]) -> None:
    run = page["run"]
    for name in run.tables:
        lines = (run.path / f"{name}.csv").read_text(encoding="utf-8").splitlines()
        table = run.table(name)
        assert list(table.columns) == lines[0].split(",")
        assert len(table) == len(run.rows(name)) > 0
    assert run.rows("no-such-table") == []


def test_without_pandas_tables_are_of_pyarrow(page: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    monkeypatch.setitem(sys.modules, "pandas", None)
    table = page["run"].table("results")
    assert isinstance(table, pyarrow.Table)
    assert table.num_rows == len(page["run"].rows("results"))


def test_charts_carry_their_rows(page: dict[str, Any]) -> None:
    for name, chart in page["charts"].items():
        assert any(chart.to_dict()["datasets"].values()), name


def test_the_answer_is_what_a_notebook_shows(page: dict[str, Any]) -> None:
    shown = page["run"]._repr_html_()
    assert "How far this goes" in shown
    assert "<pre>" in shown


def test_a_recipe_object_runs_as_its_file_did(page: dict[str, Any]) -> None:
    run = layersig.run(page["run"].recipe, quiet=True)
    assert run.name == page["run"].name


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run 'mine'"):
        layersig.open_run("mine", runs=tmp_path)
    with pytest.raises(UserError, match="is not a run"):
        layersig.Run(tmp_path)
    with pytest.raises(UserError, match="there is no recipe"):
        layersig.run(tmp_path / "none.toml")
    with pytest.raises(UserError, match="did you mean 'quickstart'"):
        layersig.run("quickstrat")


def test_importing_layersig_imports_nothing_heavy() -> None:
    code = "import sys, layersig; print([m for m in ('torch', 'pydantic', 'numpy', 'altair') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_public_name_is_there_and_typed() -> None:
    assert all(hasattr(layersig, name) for name in layersig.__all__)
    assert (Path(layersig.__file__).parent / "py.typed").is_file()
