"""The harness of `make gpu`, on a CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.gpu import __main__ as harness
from tests.gpu import halves
from tests.gpu.cases import CASES
from tests.gpu.page import page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LEFT_OUT = ("altair", "bitsandbytes", "datasets", "gguf", "lm_eval", "rouge_score", "trl", "vl_convert")
"""Packages that a machine with a card need not have."""


def test_the_page_in_the_docs_is_what_was_measured() -> None:
    kept = DOCS / "gpu.json"
    found = json.loads(kept.read_text()) if kept.is_file() else {}
    assert (DOCS / "gpu.md").read_text() == page(found)
    assert ("Nothing has been measured" in page(found)) is not bool(found)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_without_a_card_it_says_so_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tests.gpu", "--out", str(tmp_path / "out")])
    assert harness.main() == 2
    assert capsys.readouterr().err == "no CUDA device here, so nothing was measured and nothing was written\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_machine_with_fewer_packages_finds_every_test_and_every_case() -> None:
    program = f"""\
import sys
sys.modules.update(dict.fromkeys({LEFT_OUT}))
import pytest
import tests.gpu.__main__
sys.exit(pytest.main(["tests/gpu", "-m", "cuda", "--collect-only", "-qq", "-W", "default", "-p", "no:cacheprovider"]))
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_packages_beside_the_checkout_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "carried.py").write_text("VALUE = 3\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    program = "import carried, layersig; print(carried.VALUE)"
    assert halves._run([sys.executable, "-c", program], 30.0) == ("3\n", "", 0)


def test_both_halves_fit_their_time() -> None:
    assert sum(case.seconds for case in CASES.values()) <= halves.LIMIT < 600


def test_what_was_printed_before_the_cut_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    program = 'import time; print(\'{"row": ["a", "1"]}\', flush=True); print({}, flush=True); time.sleep(60)'
    run = halves._run
    monkeypatch.setattr(halves, "_run", lambda command, limit: run([sys.executable, "-c", program], limit))
    found = halves._case("peak", "cpu", True, 3.0)
    assert found["rows"] == [["a", "1"]]
    assert "Cut after 3 seconds" in found["notes"][0]
    assert not found["failed"]


def test_a_case_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    run = halves._run
    monkeypatch.setattr(
        halves, "_run", lambda command, limit: run([sys.executable, "-c", "raise ValueError('no room')"], limit)
    )
    found = halves._case("peak", "cpu", True, 30.0)
    assert found["failed"]
    assert found["notes"] == ["Failed, so what is missing was not measured: ValueError: no room"]


def card_only() -> set[str]:
    """Tests marked `card`."""
    command = [sys.executable, "-m", "pytest", "tests/gpu", "-o", "addopts=", "-q", "-m", "card", "--collect-only"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.removeprefix("tests/gpu/") for line in listed if "::" in line}


@pytest.mark.slow
def test_everything_runs_on_a_cpu_in_small(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.gpu", "--device", "cpu", "--tiny", "--out", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert ended.returncode == 0, [found["tests"], found.get("cases")]
    outcomes = {row["test"]: row["outcome"] for row in found["tests"]["tests"]}
    assert set(outcomes.values()) == {"passed", "skipped"}
    assert {name for name, outcome in outcomes.items() if outcome == "skipped"} == card_only()
    for name, case in CASES.items():
        assert found["cases"][name]["rows"], name
        assert {len(row) for row in found["cases"][name]["rows"]} == {len(case.columns)}
    assert (tmp_path / "gpu.md").read_text() == page(found)
    assert "Its figures mean nothing" in page(found)
