"""`layersig recipes`: what a copy needs to run comes with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from layersig.recipe.bundled import shipped
from layersig.recipe.load import load_all
from tests.study import call

NAMES = sorted(str(path.relative_to(shipped()).with_suffix("")) for path in shipped().rglob("*.toml"))


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_is_as_valid_as_the_original(capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str) -> None:
    code, out, _ = call(capsys, "recipes", "cp", name, tmp_path)
    assert code == 0
    copied, original = load_all(Path(out.strip())), load_all(shipped() / f"{name}.toml")
    assert [loaded.id for loaded in copied] == [loaded.id for loaded in original]


def test_a_task_comes_with_its_rows(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    call(capsys, "recipes", "cp", "small/table-10", tmp_path)
    copied = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    beside = {"problems.yaml", "problems.jsonl", "short.jsonl", "long.jsonl"}
    assert copied == {"table-10.toml", *(f"chains/{name}" for name in beside)}


def test_nothing_that_is_there_is_overwritten(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "gradient_signal.py").write_text("# mine\n", encoding="utf-8")
    code, _, err = call(capsys, "recipes", "cp", "small/own-scorer", tmp_path)
    assert (code, "gradient_signal.py exists already" in err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["gradient_signal.py"]


def test_the_list_says_what_each_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = call(capsys, "recipes", "ls")
    assert len(out.splitlines()) == len(NAMES)
    (line,) = [line for line in out.splitlines() if line.startswith("small/own-scorer ")]
    assert line.endswith(
        "A custom scorer against ILA, gradient norm and random layers, pairwise, over five training runs"
    )
