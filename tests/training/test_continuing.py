from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from layersig.errors import UserError
from layersig.jsonform import dumps
from layersig.recipe.schema import AdaLoraSettings, TrainSettings
from layersig.stages.job import Earlier, Job
from layersig.training import loop, stages
from tests.training.world import TRAIN, digests, job

METHODS = {
    "lora": TRAIN,
    "constant": TRAIN.model_copy(update={"schedule": "constant"}),
    "adalora": TRAIN.model_copy(
        update={"method": "adalora", "adalora": AdaLoraSettings(target_r=2, init_r=3, tinit=1, tfinal=2)}
    ),
    "full": TRAIN.model_copy(update={"method": "full"}),
}


def trained(
    folder: Path, inputs, name: str, milestones: list[float], *earlier: Earlier, train: TrainSettings = TRAIN
) -> Earlier:
    """What a reference training leaves, as the cache would give it to another."""
    run = begun(folder, inputs, name, milestones, *earlier, train=train)
    stages.reference(run)
    return left_by(run)


def begun(folder: Path, inputs, name: str, milestones: list[float], *earlier: Earlier, train=TRAIN) -> Job:
    run = job(folder, inputs, name, train=train, milestones=milestones)
    (folder / name / "kept").mkdir(exist_ok=True)
    return replace(run, earlier=earlier, kept=folder / name / "kept")


def left_by(run: Job) -> Earlier:
    metrics = run.out.parent / "metrics.jsonl"
    metrics.write_text("".join(dumps(row) + "\n" for row in run.metrics))
    return Earlier(run.out, run.kept, metrics, dict(run.cost))


@pytest.fixture
def steps(monkeypatch) -> list[None]:
    """One entry for every optimizer step that is really trained."""
    done: list[None] = []
    clip = loop._clip
    monkeypatch.setattr(loop, "_clip", lambda *given: (done.append(None), clip(*given))[1])
    return done


@pytest.mark.parametrize(
    "method", ["lora", "full", *(pytest.param(name, marks=pytest.mark.slow) for name in ("constant", "adalora"))]
)
def test_a_training_that_ends_early_is_the_beginning_of_the_long_one_and_is_continued_to_the_same_bytes(
    tmp_path, inputs, steps, method
):
    train = METHODS[method]
    whole = trained(tmp_path, inputs, "whole", [0.25, 0.5, 1.0], train=train)
    assert len(steps) == 9
    assert not any(whole.kept.iterdir())
    steps.clear()
    short = trained(tmp_path, inputs, "short", [0.25, 0.5], train=train)
    assert len(steps) == 4  # of 9: half of them, rounded to even
    assert digests(short.out / "at-0.5") == digests(whole.out / "at-0.5")
    assert "model" not in {path.name for path in short.out.iterdir()}
    steps.clear()
    longer = trained(tmp_path, inputs, "longer", [0.25, 0.5, 1.0], short, train=train)
    assert len(steps) == 5
    assert digests(longer.out) == digests(whole.out)
    assert longer.cost["continued_from"] == 4


@pytest.mark.parametrize("wanted", [[0.25], [0.25, 0.5], pytest.param([0.5], marks=pytest.mark.slow), [1.0]])
def test_a_longer_training_serves_a_shorter_one_as_if_that_had_been_trained(tmp_path, inputs, steps, wanted):
    whole = trained(tmp_path, inputs, "whole", [0.25, 0.5, 1.0])
    alone = trained(tmp_path, inputs, "alone", wanted)
    steps.clear()
    served = trained(tmp_path, inputs, "served", wanted, whole)
    assert steps == []
    assert digests(served.out) == digests(alone.out)
    for key in ("tokens", "steps", "planned_steps"):
        assert served.cost[key] == alone.cost[key]
    assert served.cost["continued_from"] == served.cost["steps"]
    rows = [json.loads(each.metrics.read_text().splitlines()[-1]) for each in (alone, served)]
    assert rows[0] | {"seconds": 0} == rows[1] | {"seconds": 0}


@pytest.mark.parametrize(
    ("earlier", "wanted", "fresh"),
    [
        ([[0.25]], [0.25, 0.5], 2),  # from step 2 to step 4
        ([[0.25], [0.25, 0.5]], [0.25, 0.5, 1.0], 5),  # the furthest one that leads there
        pytest.param(
            [[0.5]], [0.25, 0.5], 4, marks=pytest.mark.slow
        ),  # ended where it should, but did not keep the update at 0.25
        ([[0.5], [0.25]], [0.25, 1.0], 7),  # the further one lacks 0.25
        pytest.param(
            [[1.0]], [0.5], 4, marks=pytest.mark.slow
        ),  # the long one kept nothing at 0.5, and its state is behind it
        pytest.param(
            [[0.25, 1.0]], [0.5, 1.0], 9, marks=pytest.mark.slow
        ),  # a training that came to its end leaves no state
    ],
)
def test_only_a_state_on_the_way_is_continued(tmp_path, inputs, steps, earlier, wanted, fresh):
    left = [trained(tmp_path, inputs, f"earlier-{number}", kept) for number, kept in enumerate(earlier)]
    alone = trained(tmp_path, inputs, "alone", wanted)
    steps.clear()
    found = trained(tmp_path, inputs, "found", wanted, *left)
    assert len(steps) == fresh
    assert digests(found.out) == digests(alone.out)


def test_a_continued_training_that_is_interrupted_ends_alike(tmp_path, inputs, monkeypatch):
    whole = trained(tmp_path, inputs, "whole", [0.25, 1.0])
    short = trained(tmp_path, inputs, "short", [0.25])
    clip, calls = loop._clip, []

    def interrupt(*given):
        calls.append(None)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return clip(*given)

    monkeypatch.setattr(loop, "_clip", interrupt)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, inputs, "again", [0.25, 1.0], short)
    again = trained(tmp_path, inputs, "again", [0.25, 1.0], short)
    assert len(calls) == 4 + 4  # three steps and the one that broke off, then the other four of seven
    assert digests(again.out) == digests(whole.out)


def test_a_state_that_cannot_be_read_costs_a_training_and_no_result(tmp_path, inputs, steps):
    whole = trained(tmp_path, inputs, "whole", [0.25, 1.0])
    short = trained(tmp_path, inputs, "short", [0.25])
    next(iter(short.kept.iterdir())).write_bytes(b"spoilt")
    steps.clear()
    longer = trained(tmp_path, inputs, "longer", [0.25, 1.0], short)
    assert len(steps) == 9
    assert digests(longer.out) == digests(whole.out)


@pytest.mark.parametrize("milestones", [[0.05], [0.01, 0.1]])
def test_a_milestone_before_anything_moved_is_refused(tmp_path, inputs, milestones):
    train = TRAIN.model_copy(update={"warmup_ratio": 0.5})
    with pytest.raises(UserError, match=r"after 1 of 9 steps, and up to there the learning rate is 0"):
        trained(tmp_path, inputs, "short", milestones, train=train)
    trained(tmp_path, inputs, "later", [*milestones, 0.25], train=train)
