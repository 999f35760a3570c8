"""A study with a search: equal trials in every arm, told in the report; and what tuning a share of the layers costs."""

from __future__ import annotations

import json

import pytest
from safetensors.torch import load_file

from tests.e2e.world import Run, World
from tests.study import write_study


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    base = tmp_path_factory.mktemp("search")
    world = World(base, write_study(base, tied=False))
    search = "train.search={learning_rates=[1e-5, 0.02], validation=0.2}"
    return world.run(search, "scorers.ila.train={rank=3}", "evaluate.tasks=[]").run


def test_every_arm_has_the_same_trials_and_the_report_tells(run: Run) -> None:
    files = sorted((run.path / "searches").glob("*/chats/seed-0.json"))
    arms = {file.parts[-3] for file in files}
    assert {"all-layers", "ila-30", "matched-random"} <= arms
    assert "graft-30" not in arms
    assert (run.path / "searches/all-layers/ila/chats/seed-0.json").is_file()  # of the scorer's training, and no arm
    found = [json.loads(file.read_text()) for file in files]
    assert all(each["validation"] == found[0]["validation"] for each in found)
    assert {tuple(row["learning_rate"] for row in each["trials"]) for each in found} == {(1e-5, 0.02)}
    for stage in run.manifest["stages"]:
        if stage["kind"] in {"reference", "tune"}:
            assert stage["trials"] == 2
    findings = json.loads((run.path / "analysis.json").read_text())
    assert len(findings["trials"]) == 2 * len(arms)
    (item,) = (row for row in findings["rigor"] if row["item"] == "equal search of hyper-parameters")
    assert item["status"] == "met"
    assert "2 trials of 2 learning rates; the best on 20% of the training data" in item["evidence"]
    report = (run.path / "report.md").read_text()
    assert "Trials of learning rates and lengths" in report
    assert "trials.csv" in {path.name for path in run.path.iterdir()}


def test_cost_by_share_of_the_layers(run: Run) -> None:
    findings = json.loads((run.path / "analysis.json").read_text())
    rows = {row["arm"]: row for row in findings["tuning_costs"]}
    assert "graft-30" not in rows
    whole, part = rows["all-layers"], rows["ila-30"]
    assert (whole["share_of_layers"], whole["state_ratio"], whole["time_ratio"], whole["peak_ratio"]) == (1, 1, 1, 1)
    every = len(json.loads((run.path / "layers.json").read_text())["layers"])
    assert part["share_of_layers"] == len(run.layers("ila-30")) / every
    for arm in ("all-layers", "ila-30"):
        factors = load_file(run.adapter(arm) / "adapter_model.safetensors")
        size = sum(value.nbytes for value in factors.values())
        assert rows[arm]["trained_memory"] == rows[arm]["gradient_memory"] == size
        assert rows[arm]["optimizer_memory"] == 2 * size
    model = load_file(run.path.parents[2] / "model" / "model.safetensors")
    assert whole["weights_memory"] == part["weights_memory"] == sum(value.nbytes for value in model.values())
    assert part["state_ratio"] == pytest.approx(part["trained_memory"] / whole["trained_memory"])
    report = (run.path / "report.md").read_text()
    assert "Cost by share of the layers tuned" in report
    assert (run.path / "figures" / "tuning_costs.svg").is_file()
