"""Same recipe, same machine: same bytes; and micro-batches change nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from layersig.fast import runner
from tests.e2e.world import Run, World, calls


def test_two_runs_without_cache_are_equal_byte_for_byte(world: World, first: Run, tmp_path: Path) -> None:
    for name in ("recipe.toml", "chats.jsonl", "choice.yaml", "choice.jsonl"):
        shutil.copy(world.base / name, tmp_path / name)
    shutil.copytree(world.base / "model", tmp_path / "model")
    elsewhere = World(tmp_path, Path("recipe.toml"))
    other = elsewhere.run("--no-cache", "--runs", "new").run
    assert {"scores.jsonl", "selections.jsonl", "adapters/ila-30/chats/seed-0/adapter_model.safetensors"} <= set(
        first.results()
    )
    assert other.results() == first.results()
    again = elsewhere.run("--no-cache", "--runs", "newer").run
    assert again.ran == set(again.stages)
    assert again.results() == first.results()


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param((), id="plain"),
        pytest.param(("train.gradient_checkpointing=true",), id="checkpointed", marks=pytest.mark.slow),
    ],
)
def test_halving_micro_batches_changes_losses_by_rounding_alone(world: World, extra: tuple[str, ...]) -> None:
    wide = ("model.dtype=float64", "evaluate.tasks=[]", "analyze.controls=false", "arms.1.select.draw=1", *extra)
    runs, passes = [], []
    for tokens in (128, 64):
        with calls(runner.FastRunner, "_forward") as micro:
            runs.append(world.run(*wide, f"train.micro_batch_tokens={tokens}").run)
        passes.append(len(micro))
    assert passes[0] < passes[1]
    before, after = (run.lines("metrics.jsonl") for run in runs)
    assert [(row["cell"], row["step"], row["tokens"]) for row in before] == [
        (row["cell"], row["step"], row["tokens"]) for row in after
    ]
    for old, new in zip(before, after, strict=True):
        assert old["loss"] == pytest.approx(new["loss"], rel=0, abs=1e-9)
        assert old["gradient_norm"] == pytest.approx(new["gradient_norm"], rel=1e-6)
    scores = [run.lines("scores.jsonl")[0]["scores"] for run in runs]
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)
