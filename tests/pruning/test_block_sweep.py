"""The block sweep on tasks in a whole study: what is kept of every block, resumed, analysed and reported."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from layersig.evaluating import items
from layersig.jsonform import read_jsonl
from tests.study import RECIPE, call, write_lines, write_study

pytestmark = pytest.mark.slow

HEAD, _, _ = RECIPE.partition("[train]")
SWEEP = f"""{HEAD}
[layers]
unit = "block"

[scorers.skipped]
kind = "ablation"
tasks = [
    {{ source = "file:choice.yaml", floor = true }},
    {{ source = "file:letters.yaml", floor = true }},
]

[scorers.likelihood]
kind = "ablation"
batches = 1

[analyze]
resamples = 100
"""
LETTERS = """\
task: letters
dataset_path: json
dataset_kwargs:
  data_files:
    test: letters.jsonl
output_type: generate_until
test_split: test
doc_to_text: "{{question}}"
doc_to_target: answer
generation_kwargs:
  until: ["\\n"]
  max_gen_toks: 6
metric_list:
  - metric: rouge_l
"""


TASKS = ("choice", "letters")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def world(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    patch.setenv("LAYERSIG_CACHE", str(folder / "cache"))
    patch.chdir(folder)
    recipe = write_study(folder, recipe=SWEEP)
    (folder / "letters.yaml").write_text(LETTERS)
    write_lines(folder / "letters.jsonl", [{"question": f"{n}:", "answer": f"a {n}"} for n in range(10)])
    return recipe


def lines_of(path: Path) -> list[dict[str, Any]]:
    return list(read_jsonl(path))


def kept_of(run: Path) -> dict[str, bytes]:
    root = run / "ablations"
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.json*"))}


class Interrupted:
    """`score_task`, interrupted once, at a given call."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int) -> None:
        self.done: list[str] = []
        self._own, self._at = items.score_task, at
        patch.setattr(items, "score_task", self)

    def __call__(self, task: Any, *args: Any, **more: Any) -> Any:
        if len(self.done) == self._at:
            self._at = -1
            raise KeyboardInterrupt
        self.done.append(task.name)
        return self._own(task, *args, **more)


def test_a_sweep_keeps_every_block_and_the_scores_are_of_what_it_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = world(tmp_path, monkeypatch)
    calls = Interrupted(monkeypatch, 6)
    assert call(capsys, "run", recipe, "--runs", "runs")[0] == 130
    code, _, err = call(capsys, "run", recipe, "--runs", "runs")
    assert code == 0, err
    # Both tasks and the floor of one, then two tasks a block; only the block that was broken off starts again.
    assert calls.done == ["choice", "choice", "letters", "choice", "letters", "choice"] + ["choice", "letters"] * 2
    (run,) = (tmp_path / "runs").glob("tiny/*")
    labels = ["block-0", "block-1", "block-2", "whole"]
    assert sorted(path.name for path in (run / "ablations/skipped").iterdir()) == labels
    values: dict[tuple[str, str], dict[str, float]] = {}
    for label in labels:
        folder = run / "ablations/skipped" / label
        for line in lines_of(folder / "items.jsonl"):
            values.setdefault((label, line["task"]), {})[line["item"]] = line["value"]
        assert {line["task"] for line in lines_of(folder / "responses.jsonl")} == {"letters"}
        assert all(line["probes"] and line["finish"] for line in lines_of(folder / "responses.jsonl"))
        assert (folder / "floors.jsonl").exists() is (label == "whole")
    assert {line["task"] for line in lines_of(run / "ablations/skipped/whole/floors.jsonl")} == {"choice", "letters"}

    # The ranking is that of the kept items, and so is every row of the analysis.
    (scores,) = [line["scores"] for line in lines_of(run / "scores.jsonl") if line["scorer"] == "skipped"]
    means = {key: fmean(of_items.values()) for key, of_items in values.items()}
    for block, score in enumerate(scores.values()):
        ratios = [
            means[f"block-{block}", task] / means["whole", task]
            for task in ("choice", "letters")
            if means["whole", task]
        ]
        assert score == pytest.approx(1 - sum(ratios) / 2)
    with (run / "blocks.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "metric"]
    assert {(row["task"], row["block"]) for row in rows} == {
        (t, str(b)) for t in ("choice", "letters") for b in range(3)
    }
    for row in rows:
        paired = values[f"block-{row['block']}", row["task"]], values["whole", row["task"]]
        difference = fmean(paired[0][item] - paired[1][item] for item in paired[1])
        assert float(row["difference"]) == pytest.approx(difference)
    report = (run / "report.md").read_text()
    assert "One block left out at a time" in report
    assert (run / "figures/blocks-skipped.svg").exists()
    digests = json.loads((run / "manifest.json").read_text())["files"]
    assert "ablations/skipped/block-1/items.jsonl" in digests


@pytest.mark.slow
@pytest.mark.parametrize("at", [1, 3, 4])
def test_a_sweep_that_is_broken_off_ends_the_same(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = world(tmp_path, monkeypatch)
    Interrupted(monkeypatch, at)
    assert call(capsys, "run", recipe, "--runs", "runs")[0] == 130
    found = []
    for folder in ("runs", "again"):
        code, _, err = call(capsys, "run", recipe, "--runs", folder)
        assert code == 0, err
        (run,) = (tmp_path / folder).glob("tiny/*")
        found.append(kept_of(run))
        monkeypatch.setenv("LAYERSIG_CACHE", str(tmp_path / "another"))
    assert found[0] == found[1]
