"""Where the update that scorers look at comes from: one training at many moments, or a folder that the user brings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from layersig.streams import Streams
from tests.e2e.world import Run, World
from tests.study import write_study

SCORERS = """\
[scorers.ila]
kind = "ila"
steps = 2
keep_every = 1

[scorers.change]
kind = "weight-change"

[scorers.taylor]
kind = "update-taylor"
batches = 2
"""
PLAIN = ("arms=[]", "evaluate.tasks=[]")


def _world(base: Path, **model: Any) -> World:
    path = write_study(base, **model)
    text = path.read_text()
    start, end = text.index("[scorers.ila]"), text.index("[[arms]]")
    path.write_text(text[:start] + SCORERS + "\n" + text[end:])
    return World(base, path)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return _world(tmp_path_factory.mktemp("updates"), tied=False)


def _scores(run: Run, scorer: str) -> dict[Any, dict[str, float]]:
    """Scores by checkpoint."""
    return {row["checkpoint"]: row["scores"] for row in run.lines("scores.jsonl") if row["scorer"] == scorer}


def test_milestones_come_from_one_training(world: World) -> None:
    # Without a warm-up, in whose first step no layer moves.
    plain = ("train.warmup_ratio=0.0", "evaluate.tasks=[]", "analyze.controls=false")
    run = world.run("scorers.ila.checkpoint=[1, 0.34, 0.67]", *plain).run
    found = _scores(run, "ila")
    assert set(found) == {0.34, 0.67, 1}
    assert found[0.34] != found[0.67] != found[1]
    (reference,) = (stage for stage in run.manifest["stages"] if stage["kind"] == "reference")
    rows = [row for row in run.lines("metrics.jsonl") if row["cell"] == "all-layers/chats/seed-0"]
    # Three steps of four chats: what one training of that length takes, however many rankings it serves.
    assert len(rows) == 3
    assert reference["tokens"] == sum(row["tokens"] for row in rows)
    # Arms read the last.
    assert run.layers("ila-30") == [
        name for name in found[1] if name in sorted(found[1], key=lambda name: -found[1][name])[:6]
    ]
    assert {"ila/chats/seed-0/at-0.34.jsonl", "ila/chats/seed-0/at-1.jsonl"} <= {
        name.removeprefix("trajectories/") for name in run.files()
    }
    again = world.run("scorers.ila.checkpoint=0.25", *plain).run
    other = world.run("scorers.ila.checkpoint=0.5", *plain).run
    assert (
        again.stages["reference/chats/seed-0"]["fingerprint"] == other.stages["reference/chats/seed-0"]["fingerprint"]
    )
    assert other.stages["reference/chats/seed-0"]["cached"]


@pytest.mark.parametrize(
    "method", ["lora", *(pytest.param(name, marks=pytest.mark.slow) for name in ("adalora", "full"))]
)
def test_a_given_update_ranks_as_the_training_that_made_it(tmp_path: Path, method: str) -> None:
    world = _world(tmp_path, tied=False)
    ranks = ("train.adalora={target_r=2,init_r=4}",) if method == "adalora" else ()
    tuning = (f'train.method="{method}"', *ranks, "train.learning_rate=0.02")
    made = world.run("arms=[{name='first', select={kind='top', fraction=0.5}, scorer='ila'}]", *tuning, *PLAIN[1:]).run
    kind = "models" if method == "full" else "adapters"
    shutil.copytree(made.path / kind / "all-layers" / "chats" / "seed-0", tmp_path / "given")
    given = world.run('update={source="path:given"}', *PLAIN).run
    assert "reference" not in {stage["kind"] for stage in given.manifest["stages"]}
    for scorer in ("ila", "change", "taylor"):
        (expected,), (found,) = _scores(made, scorer).values(), _scores(given, scorer).values()
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-6)
    origin = json.loads((given.path / "update.json").read_text())
    assert origin["found"] == ("checkpoint" if method == "full" else "adapter")
    assert origin["other_weights"] == 0
    (note,) = next(source for source in given.manifest["sources"] if source["role"] == "update")["notes"]
    word = {"lora": "a LORA adapter", "adalora": "an ADALORA adapter", "full": "the difference of this checkpoint"}
    assert word[method] in note
    # The size of an update depends on neither data nor seed once it is given.
    assert {row["data"] for row in given.lines("scores.jsonl") if row["scorer"] == "change"} == {None}


def test_an_update_that_does_not_fit_is_refused_in_one_sentence(tmp_path: Path) -> None:
    world = _world(tmp_path, tied=False)
    write_study(tmp_path / "other", "qwen3")
    told = world.run('update={source="path:other/model"}', *PLAIN)
    assert told.code == 0, told.err  # of the same shapes, and then norms are told to be left out
    assert "weights that are no layers as well" in told.err
    told = world.run('update={source="path:model"}', *PLAIN)
    assert (told.code, len(told.errors)) == (2, 1)
    assert "changes no layer of the model" in told.errors[0]
    write_study(tmp_path / "gpt2", "gpt2")
    told = world.run('update={source="path:gpt2/model"}', *PLAIN)
    assert (told.code, len(told.errors)) == (2, 1)
    assert "model.layers.0.self_attn.q_proj is missing, not (32, 32)" in told.errors[0]
    made = world.run("arms=[{name='first', select={kind='top', fraction=0.5}, scorer='ila'}]", *PLAIN[1:]).run
    shutil.copytree(made.adapter("first"), tmp_path / "some")
    told = world.run('update={source="path:some"}', *PLAIN)
    assert "has no change for" in told.errors[0]
    shutil.copytree(made.adapter("all-layers"), tmp_path / "bent")
    weights = load_file(tmp_path / "bent" / "adapter_model.safetensors")
    name = next(iter(weights))
    save_file({**weights, name: weights[name][:, :-1].contiguous()}, tmp_path / "bent" / "adapter_model.safetensors")
    told = world.run('update={source="path:bent"}', *PLAIN)
    assert (told.code, len(told.errors)) == (2, 1)
    assert "have shapes" in told.errors[0]
    told = world.run('update={source="path:bent"}', "scorers.ila.checkpoint=0.5", *PLAIN)
    assert "the update of [update] has no checkpoints" in told.err


def test_a_scorer_looks_at_a_training_of_its_own_beside_the_shared_one(world: World) -> None:
    own = ('scorers.full={ kind = "ila", steps = 2, train = { method = "full", learning_rate = 1e-3 } }',)
    run = world.run(*own, *PLAIN, "seeds=[0, 1]").run
    references = {name for name, stage in run.stages.items() if stage["kind"] == "reference"}
    shared, full = ({f"reference/{each}chats/seed-{seed}" for seed in (0, 1)} for each in ("", "full/"))
    assert references == shared | full
    found = {(row["scorer"], row["seed"]): row["scores"] for row in run.lines("scores.jsonl")}
    assert found["ila", 0] != found["full", 0] != found["full", 1]
    alone = world.run(*PLAIN, "seeds=[0, 1]", 'train.method="full"', "train.learning_rate=1e-3").run
    other = {(row["scorer"], row["seed"]): row["scores"] for row in alone.lines("scores.jsonl")}
    assert found["full", 0] == other["ila", 0]
    sharing = json.loads((run.path / "analysis.json").read_text())["sharing"]
    pairs = [row for row in sharing if set(row["cells"]) == {"ila", "full"}]
    assert pairs
    assert {(row["across"], row["data"], row["seeds"]) for row in pairs} == {("scorers", "chats", 2)}


def test_another_stream_scores_the_same_training_again(world: World) -> None:
    run = world.run('scorers.again={ kind = "ila", steps = 2, keep_every = 1, stream = 1 }', *PLAIN, "seeds=[0, 1]").run
    found = {(row["scorer"], row["seed"]): row["scores"] for row in run.lines("scores.jsonl")}
    assert found["ila", 0] != found["again", 0]
    assert len([stage for stage in run.stages.values() if stage["kind"] == "reference"]) == 2
    stability = json.loads((run.path / "analysis.json").read_text())["stability"]
    assert {row["scorer"] for row in stability if row["quantity"] == "rescored"} == {"ila"}


def test_a_scorer_reads_the_batches_of_the_training_and_another_stream_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders: list[int] = []
    generator = Streams.generator

    def recorded(self: Streams, purpose: str, *names: str | int) -> np.random.Generator:
        if purpose == "data-order":
            orders.append(self.number(purpose, *names))
        return generator(self, purpose, *names)

    monkeypatch.setattr(Streams, "generator", recorded)
    again = 'scorers.again={ kind = "ila", steps = 2, stream = 1 }'
    run = world.run(again, *PLAIN, "seeds=[0]", "arms=[]", "name=drawn", "--no-cache").run
    drawing = {stage["cell"].get("scorer", stage["kind"]) for stage in run.stages.values()}
    assert {"reference", "ila", "again"} <= drawing
    assert len(orders) >= 3
    assert len(set(orders)) == 2  # `ila` has the order of the training
