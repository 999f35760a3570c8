"""A search compares trials on conversations that none was trained on, and the best trial is the training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from pydantic import ValidationError

from layersig.data.examples import read_examples, write_examples
from layersig.data.split import validation_indices
from layersig.errors import StageFailed, UserError
from layersig.models.adapters.wrappers import expected_warnings
from layersig.recipe.schema import SearchSettings, TrainSettings
from layersig.training import loop, stages
from layersig.training.log import TrainLog
from layersig.training.search import Fit, _read, _run
from tests.tiny import tiny_model
from tests.training.world import TRAIN, digests, job

RATES = (1e-5, 2e-2)
SEARCH = SearchSettings(learning_rates=RATES, epochs=(0.5, 1.0), validation=0.2)


def _settings(**changes: Any) -> TrainSettings:
    return TRAIN.model_copy(update={"search": SEARCH, "schedule": "constant", **changes})


def _told(run: Any) -> Any:
    return json.loads((run.out / "search.json").read_text())


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_best_trial_is_the_training(tmp_path: Path, inputs: Mapping[str, Path], method: str) -> None:
    run = job(tmp_path, inputs, train=_settings(method=method))
    stages.tune(run)
    told = _told(run)
    assert [(row["learning_rate"], row["epochs"]) for row in told["trials"]] == [
        (rate, epochs) for rate in RATES for epochs in (0.5, 1.0)
    ]
    (chosen,) = (row for row in told["trials"] if row["chosen"])
    assert chosen["loss"] == min(row["loss"] for row in told["trials"])
    assert (chosen["learning_rate"], chosen["epochs"]) == (2e-2, 1.0)
    # The same training without a search, on what the search trained on.
    every = read_examples(inputs["data"], "train")
    kept = validation_indices(every.groups, 0.2, 1)
    assert len(kept) == told["validation"]["conversations"] == 4
    (tmp_path / "data").mkdir()
    write_examples(tmp_path / "data", "train", [every[index] for index in range(len(every)) if index not in kept])
    plain = job(
        tmp_path,
        {**inputs, "data": tmp_path / "data"},
        "plain",
        train=TRAIN.model_copy(update={"method": method, "schedule": "constant", "learning_rate": 2e-2, "epochs": 1.0}),
    )
    stages.tune(plain)
    assert {**digests(plain.out), "search.json": digests(run.out)["search.json"]} == digests(run.out)
    trained = sum(len(every[index]) for index in range(len(every)) if index not in kept)
    assert run.cost["trials"] == 4
    validated = 4 * sum(len(every[index]) for index in kept)
    assert run.cost["tokens"] == trained + _other_tokens(run, plain) + validated
    assert plain.cost["tokens"] == trained
    if method == "lora":
        with expected_warnings():
            model = PeftModel.from_pretrained(tiny_model("llama"), run.out / "adapter").eval()
        total, targets = 0.0, 0
        for index in kept:
            tokens = torch.from_numpy(every[index].tokens.astype("int64"))
            wanted = torch.from_numpy(every[index].targets.copy())[1:]
            with torch.no_grad():
                logits = model(tokens[None]).logits[0, :-1][wanted]
            total += torch.nn.functional.cross_entropy(logits, tokens[1:][wanted], reduction="sum").item()
            targets += int(wanted.sum())
        assert chosen["loss"] == pytest.approx(total / targets, rel=1e-5)


def _steps(run: Any) -> list[dict[str, Any]]:
    return list(json.loads((run.out / "log.json").read_text())["steps"])


def _other_tokens(run: Any, plain: Any) -> int:
    """Tokens of the trials that lost: a second one of an epoch, and two of half an epoch, which is its beginning."""
    whole = sum(row["tokens"] for row in _steps(plain))
    every = read_examples(plain.inputs["data"], "train")
    from layersig.data.batches import optimizer_batches

    half = optimizer_batches(every, batch_size=TRAIN.batch_size, epochs=0.5, streams=run.streams)
    return whole + 2 * sum(len(every[index]) for batch in half for index in batch)


def test_an_interrupted_search_goes_on_where_it_was(
    tmp_path: Path, inputs: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _settings(search=SEARCH.model_copy(update={"epochs": ()}), epochs=1.0)
    unbroken = job(tmp_path, inputs, "unbroken", train=settings, milestones=[0.5, 1.0])
    stages.reference(unbroken)
    assert {"at-0.5", "at-1"} <= {path.name for path in unbroken.out.iterdir()}
    whole, calls = loop._clip, []

    def interrupt(parameters: Any, clip: float | None) -> float:
        calls.append(None)
        if len(calls) in {3, 7}:
            raise KeyboardInterrupt
        return whole(parameters, clip)

    monkeypatch.setattr(loop, "_clip", interrupt)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            stages.reference(job(tmp_path, inputs, "broken", train=settings, milestones=[0.5, 1.0]))
    resumed = job(tmp_path, inputs, "broken", train=settings, milestones=[0.5, 1.0])
    stages.reference(resumed)
    assert len(calls) == 2 * 4 + 2  # 14 conversations in batches of 4, twice, and the two that broke off
    assert digests(resumed.out) == digests(unbroken.out)
    assert resumed.cost["tokens"] == unbroken.cost["tokens"]


def test_a_trial_that_diverges_loses_and_all_of_them_fail(tmp_path: Path, inputs: Mapping[str, Path]) -> None:
    search = SearchSettings(learning_rates=(1e30, 1e-3))
    run = job(tmp_path, inputs, train=_settings(search=search, clip=None))
    stages.tune(run)
    first, second = _told(run)["trials"]
    assert "the loss is nan at learning rate 1e+30" in first["error"]
    assert second["chosen"]
    assert not first["chosen"]
    search = SearchSettings(learning_rates=(1e30, 2e30))
    with pytest.raises(StageFailed, match="every trial of the search diverged"):
        stages.tune(job(tmp_path, inputs, "all", train=_settings(search=search, clip=None)))


@pytest.mark.parametrize(("method", "words"), [("lora", "frozen parameters"), ("full", "the model's own weights")])
def test_a_trial_that_trained_something_else_ends_the_stage(
    tmp_path: Path, inputs: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch, method: str, words: str
) -> None:
    whole, norms = stages.train, []

    def spoil(work: Any, *given: Any, **more: Any) -> Any:
        log = whole(work, *given, **more)
        norms.append((work.base.model.norm.weight, work.base.model.norm.weight.detach().clone()))
        work.base.model.norm.weight.data += 1
        return log

    monkeypatch.setattr(stages, "train", spoil)
    with pytest.raises(StageFailed, match=f"^{words} have changed"):
        stages.tune(job(tmp_path, inputs, train=_settings(method=method)))
    ((norm, before),) = norms
    norm.data.copy_(before)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_trial_that_ends_with_values_that_are_not_finite_loses(
    tmp_path: Path, inputs: Mapping[str, Path], method: str
) -> None:
    # One step: its loss is that of the untouched model, and shows nothing.
    search = SearchSettings(learning_rates=(1e39, 1e-3))
    run = job(tmp_path, inputs, train=_settings(method=method, search=search, epochs=None, steps=1))
    stages.tune(run)
    first, second = _told(run)["trials"]
    assert "without a finite, non-zero update" in first["error"]
    assert second["chosen"]


def test_a_trial_without_a_finite_validation_loss_loses(tmp_path: Path) -> None:
    log = TrainLog((), 0, "plain")
    for number, loss in enumerate((float("nan"), float("inf"))):
        trial = _run(TRAIN, tmp_path / str(number), lambda _, folder, loss=loss: Fit(folder, log, 1, loss, {}, None))
        assert trial.fit is None
        assert trial.error == f"the validation loss is {loss}"
        assert _read(TRAIN, tmp_path / str(number)) == trial  # and is not run again


def test_the_split_keeps_groups_together_and_is_the_same_for_all() -> None:
    groups = ["a", "b", "a", "c", "d", "a", "e", "b"]
    kept = validation_indices(groups, 0.3, 0)
    assert 3 <= len(kept) < 8
    assert not {groups[index] for index in kept} & {groups[index] for index in range(8) if index not in kept}
    assert kept == validation_indices(groups, 0.3, 0)
    assert len({validation_indices(groups, 0.3, root) for root in range(9)}) > 1
    with pytest.raises(UserError, match="leaves none of 2 conversations in 1 groups"):
        validation_indices(["a", "a"], 0.1, 0)


def test_one_trial_is_no_search() -> None:
    with pytest.raises(ValidationError, match="two trials at least"):
        SearchSettings(learning_rates=(1e-4,))
