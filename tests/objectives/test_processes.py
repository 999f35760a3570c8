"""A study of pairs in two processes, against one process."""

from __future__ import annotations

import json

import pytest

from tests.distributed.test_processes import launch
from tests.study import write_lines
from tests.tiny import save_tiny

RECIPE = """\
name = "pairs"

[model]
source = "path:model"
dtype = "float64"

[[data]]
name = "pairs"
source = "file:pairs.jsonl"
heldout = 8
max_tokens = 64

[train]
objective = "dpo"
rank = 2
steps = 4
batch_size = 5
learning_rate = 1e-2
warmup_ratio = 0.0

[scorers.ila]
kind = "ila"
steps = 4

[[arms]]
name = "chosen"
scorer = "ila"
select = { kind = "top", fraction = 0.3 }

[analyze]
controls = false
resamples = 100
"""
ROWS = [
    {"prompt": f"say {number}", "chosen": "yes " * (1 + number % 3), "rejected": f"never {number * 7}"}
    for number in range(28)
]


@pytest.mark.slow
def test_two_processes_learn_and_measure_as_one_and_a_split_model_is_refused(tmp_path):
    save_tiny(tmp_path / "model")
    write_lines(tmp_path / "pairs.jsonl", ROWS)
    recipe = tmp_path / "pairs.toml"
    recipe.write_text(RECIPE)

    def run(count, *options):
        runs = tmp_path / f"runs-{count}{''.join(options)}"
        cache = {"LAYERSIG_CACHE": str(tmp_path / f"cache-{count}{''.join(options)}")}
        return launch(count, "layersig", "run", recipe, "--runs", runs, *options, **cache), runs

    values = []
    for count in (1, 2):
        ran, runs = run(count)
        assert ran.returncode == 0, ran.stderr
        found = {}
        for path in sorted(runs.glob("pairs/*/evaluations/**/results.json")):
            found[path.parts[-2]] = json.loads(path.read_text())["tasks"]["heldout/pairs"]
        values.append(found)
        (scores,) = runs.glob("pairs/*/scores.jsonl")
        values[-1]["scores"] = json.loads(scores.read_text())["scores"]
    one, two = values
    assert one.keys() == two.keys()
    for name, found in one.items():
        other = two[name]
        assert {key: other[key] for key in found if key != "higher_is_better"} == pytest.approx(
            {key: value for key, value in found.items() if key != "higher_is_better"}, rel=1e-4, abs=1e-6
        )
    refused, _ = run(2, "--shard")
    assert refused.returncode != 0
    assert "--shard cannot be combined with an objective that learns from pairs" in refused.stderr
