"""An interrupted training that goes on must end as if never interrupted."""

from __future__ import annotations

import itertools

import pytest
import torch

from layersig.stages import interval
from layersig.training import checkpoint
from layersig.training.callbacks import Milestones, TrainingState
from layersig.training.log import Step
from layersig.training.optimization import Optimization
from tests.training.world import BATCHES, SETTINGS, adapted, run, trained, values

MANY = BATCHES * 3
FILE = "training.safetensors"


def without_time(log):
    return [{key: value for key, value in step.to_json().items() if key != "seconds"} for step in log.steps]


class Killed(BaseException):
    """A process that ends without a word."""


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_killed_and_resumed_is_bit_for_bit_unbroken(tmp_path, dtype, optimizer, monkeypatch):
    assert_a_kill_changes_nothing(tmp_path, dtype, optimizer, monkeypatch)


def assert_a_kill_changes_nothing(tmp_path, dtype, optimizer, monkeypatch):
    monkeypatch.setattr(interval, "SECONDS", 0.0)
    monkeypatch.setattr(interval, "SHARE", float("inf"))
    options = {"batches": MANY, "optimization": Optimization(optimizer, 1e-2, "cosine", 0.3)}

    def model():
        return adapted(dtype=dtype, dropout=0.2, factors=torch.promote_types(dtype, torch.float32))

    unbroken = model()
    log = run(unbroken, **options)

    def kill(step: Step) -> None:
        if step.step == 6:
            raise Killed

    with pytest.raises(Killed):
        run(model(), checkpoint=tmp_path, after_step=kill, **options)
    resumed, seen = model(), []
    other = run(resumed, checkpoint=tmp_path, after_step=lambda step: seen.append(step.step), **options)
    assert seen == [6, 7, 8, 9]
    assert without_time(other) == without_time(log)
    for name, parameter in trained(unbroken).items():
        assert torch.equal(trained(resumed)[name], parameter)


def test_an_interrupt_keeps_the_last_whole_step(tmp_path):
    def interrupt(number):
        if number == 3:
            raise KeyboardInterrupt
        return 0 * sum(parameter.sum() for parameter in trained(model).values())

    model = adapted()
    with pytest.raises(KeyboardInterrupt):
        run(model, batches=MANY, checkpoint=tmp_path, extra_loss=interrupt)
    resumed, seen = adapted(), []
    run(resumed, batches=MANY, checkpoint=tmp_path, after_step=lambda step: seen.append(step.step))
    assert seen == [3, 4, 5, 6, 7, 8, 9]
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_an_interrupt_before_a_milestone_is_kept_leaves_that_step_undone(tmp_path):
    def milestone():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(adapted(), batches=MANY, checkpoint=tmp_path, callbacks=[Milestones({4: milestone})])
    assert not (tmp_path / FILE).exists()


def test_a_broken_or_foreign_checkpoint_is_not_used(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(adapted(), checkpoint=tmp_path, extra_loss=_interrupt_second)
    whole = (tmp_path / FILE).read_bytes()
    for content, layers in ((whole[:-100], None), (whole, ["model.layers.1.mlp.up_proj"])):
        (tmp_path / FILE).write_bytes(content)
        model = adapted(layers=layers)
        log = run(model, SETTINGS, checkpoint=tmp_path)
        assert [step.step for step in log.steps] == [1, 2, 3]
        fresh = adapted(layers=layers)
        run(fresh)
        assert all(torch.equal(value, values(trained(fresh))[name]) for name, value in trained(model).items())


def _interrupt_second(number):
    if number == 2:
        raise KeyboardInterrupt
    return torch.zeros((), requires_grad=True)


def test_checkpoints_take_a_bounded_share_of_the_time(tmp_path, monkeypatch):
    now, saved = 0.0, []

    def save(*_):
        nonlocal now
        saved.append(now)
        now += 12.0

    monkeypatch.setattr(interval.time, "monotonic", lambda: now)
    monkeypatch.setattr(checkpoint, "save_checkpoint", save)
    callback = checkpoint.Checkpoints(tmp_path)
    state = TrainingState({}, torch.optim.SGD([torch.zeros(1)]), 0, 0)
    with callback.during(state):
        for number in range(1, 2000):
            now += 1.0
            callback.after_step(Step(number, 1.0, 0.1, 1.0, 1, 1, 1.0))
    assert saved[0] == pytest.approx(interval.SECONDS, abs=2)
    gaps = [after - before for before, after in itertools.pairwise(saved)]
    assert len(gaps) > 1
    assert all(12 / gap <= interval.SHARE for gap in gaps)
