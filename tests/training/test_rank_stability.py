from __future__ import annotations

import json
import shutil
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import kendalltau

from layersig.layers import LayerMap
from layersig.models.adapters import read_adapter
from layersig.training import loop, stages
from layersig.training.log import Step
from layersig.training.rank_stability import RankWatch
from tests.training.world import TRAIN, digests, job

STEADY = TRAIN.model_copy(update={"epochs": None, "steps": 20, "schedule": "constant", "learning_rate": 5e-3})
SORTED = list(range(30))
SHUFFLED = list(np.random.default_rng(0).permutation(30))
SWAPPED = [1, 0, *range(2, 30)]


def step(number: int) -> Step:
    return Step(number, 1.0, 1e-4, 1.0, 8, 8, 0.1)


def watched(tmp_path, sizes, planned: int, stop: int | None = None) -> tuple[RankWatch, int]:
    """A watch over a training whose look number i sees `sizes[i]`, and where it ended that."""
    given = iter(sizes)
    watch = RankWatch(tmp_path, planned, lambda: [float(size) for size in next(given)])
    for number in range(1, (stop or planned) + 1):
        if watch.after_step(step(number)):
            return watch, number
    return watch, number


@pytest.mark.parametrize(
    ("sizes", "planned", "ended", "stable"),
    [
        ([SORTED] * 20, 20, 4, 4),  # a look a step: the fourth is the third that agrees with the one before
        ([SORTED] * 20, 100, 20, 20),  # a look every fifth step
        ([SORTED] * 20, 10, 4, 4),  # fewer steps than looks
        ([SHUFFLED, SORTED, SORTED, SWAPPED, SORTED, *[SORTED] * 15], 20, 5, 5),
        ([SORTED, SHUFFLED] * 10, 20, 20, None),
        ([*[SORTED, SORTED, SORTED, SHUFFLED] * 5], 20, 20, None),  # twice in a row is not enough
        ([[0.0] * 30] * 20, 20, 20, None),  # nothing has moved
        ([SORTED] * 3, 3, 3, None),
    ],
)
def test_a_ranking_is_stable_once_it_kept_its_order_three_times(tmp_path, sizes, planned, ended, stable):
    watch, last = watched(tmp_path, sizes, planned)
    assert (last, watch.stable_at) == (ended, stable)
    record = watch.record()
    assert record["stable_at"] == stable
    assert all(-1 <= look["tau"] <= 1 for look in record["looks"])


def test_looks_outlive_an_interruption_and_are_taken_again_from_the_checkpoint_on(tmp_path):
    sizes = [SORTED, SHUFFLED, SORTED, SORTED, SORTED, SORTED]
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    whole, last = watched(tmp_path / "whole", sizes, 20)
    watched(tmp_path / "broken", sizes, 20, stop=4)
    # The training goes on behind the second step, whose state was the last one written.
    given = iter(sizes[2:])
    resumed = RankWatch(tmp_path / "broken", 20, lambda: [float(size) for size in next(given)])
    for number in range(3, 21):
        if resumed.after_step(step(number)):
            break
    assert number == last == 6
    assert resumed.record() == whole.record()


def test_a_training_ends_where_the_ranking_is_stable_and_is_the_beginning_of_the_whole(tmp_path, inputs):
    run = job(tmp_path, inputs, train=STEADY, until="rank-stable")
    stages.reference(run)
    log = json.loads((run.out / "log.json").read_text())
    ended = len(log["steps"])
    assert 4 <= ended < 20, "this training was chosen to become stable"
    found = log["rank_stability"]
    assert (found["stable_at"], log["planned_steps"], run.cost["steps"]) == (ended, 20, ended)
    assert {path.name for path in run.out.iterdir()} == {"at-stable", "log.json"}

    fractions = [number / 20 for number in range(1, ended + 1)]
    whole = job(tmp_path, inputs, "whole", train=STEADY, milestones=fractions)
    stages.reference(whole)
    assert digests(run.out / "at-stable") == digests(whole.out / f"at-{ended / 20:g}")
    layers = LayerMap.from_json(json.loads((inputs["layers"] / "layers.json").read_text()))
    sizes = []
    for fraction in fractions:
        update = read_adapter(whole.out / f"at-{fraction:g}", layers)
        sizes.append([float(np.linalg.norm(update.delta(layer.name).dense().double().numpy())) for layer in layers])
    taus = [float(kendalltau(a, b).statistic) for a, b in pairwise(sizes)]
    assert [look["tau"] for look in found["looks"]] == pytest.approx(taus, abs=0.02)
    assert min(taus[-3:]) >= 0.9


def test_without_a_stable_ranking_the_training_runs_to_its_planned_end(tmp_path, inputs):
    run = job(tmp_path, inputs, train=STEADY.model_copy(update={"steps": 3}), until="rank-stable")
    stages.reference(run)
    log = json.loads((run.out / "log.json").read_text())
    assert (len(log["steps"]), log["rank_stability"]["stable_at"]) == (3, None)
    assert (run.out / "at-stable" / "adapter_model.safetensors").exists()


@pytest.mark.parametrize("after", [2, None])
def test_an_interrupted_training_ends_at_the_same_step_with_the_same_bytes(tmp_path, inputs, monkeypatch, after):
    unbroken = job(tmp_path, inputs, "unbroken", train=STEADY, until="rank-stable")
    stages.reference(unbroken)
    if after is None:
        # Everything is trained, and the machine fails before the stage is done.
        broken = job(tmp_path, inputs, "broken", train=STEADY, until="rank-stable")
        with monkeypatch.context() as patch:
            patch.setattr(stages, "write_log", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                stages.reference(broken)
        shutil.rmtree(broken.out)
    else:
        clip, calls = loop._clip, []

        def interrupt(*given):
            calls.append(None)
            if len(calls) == after + 1:
                raise KeyboardInterrupt
            return clip(*given)

        monkeypatch.setattr(loop, "_clip", interrupt)
        with pytest.raises(KeyboardInterrupt):
            stages.reference(job(tmp_path, inputs, "broken", train=STEADY, until="rank-stable"))
    resumed = job(tmp_path, inputs, "broken", train=STEADY, until="rank-stable")
    stages.reference(resumed)
    assert digests(resumed.out) == digests(unbroken.out)
