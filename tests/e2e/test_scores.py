"""A study of rankings alone: one unit trained at a time, and scores on nonsense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.world import World
from tests.study import write_study

RECIPE = """\
name = "scores"
seeds = [0, 1]
[model]
source = "path:model"
dtype = "float32"
[layers]
unit = "block"
[[data]]
name = "chats"
source = "file:chats.jsonl"
heldout = 0
max_tokens = 64
[[data]]
name = "random"
source = "file:chats.jsonl"
text = "random-tokens"
heldout = 0
max_tokens = 64
[train]
rank = 2
batch_size = 4
learning_rate = 0.01
[scorers.alone]
kind = "layer-contribution"
steps = 1
validation = 0.5
[scorers.cosine]
kind = "block-influence"
batches = 2
tokens = "prompt"
"""


def test_contributions_and_nonsense_reach_the_report(tmp_path: Path) -> None:
    write_study(tmp_path)
    path = tmp_path / "scores.toml"
    path.write_text(RECIPE)
    run = World(tmp_path, path).run("analyze.resamples=100").run
    found = json.loads((run.path / "analysis.json").read_text())
    runs = {(row["data"], row["seed"]) for row in found["contributions"]}
    assert runs == {(data, seed) for data in ("chats", "random") for seed in (0, 1)}
    for line in run.lines("scores.jsonl"):
        if line["scorer"] == "alone":
            rows = [row for row in found["contributions"] if (row["data"], row["seed"]) == (line["data"], line["seed"])]
            assert {row["layer"]: row["gain"] for row in rows} == pytest.approx(line["scores"])
    assert {(row["scorer"], row["a"], row["b"], row["text"]) for row in found["texts"]} == {
        ("alone", "chats", "random", "random-tokens"),
        ("cosine", "chats", "random", "random-tokens"),
    }
    page = (run.path / "report.md").read_text()
    assert "## One unit trained alone" in page
    assert "## Sanity of the scores" in page
