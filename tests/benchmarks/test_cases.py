"""Cases of the benchmarks run on the code as it is, at their smallest: no speed is asserted."""

from __future__ import annotations

import math

import pytest
import torch

from tests.benchmarks import evaluation, gates, planned, training, world

# PEFT reads a property that transformers has renamed.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")]


@pytest.fixture(scope="module")
def found():
    return world.examples(world.EMBEDDED_DATA)


def test_training(found):
    chosen = world.batches(found, 1, grouped=True)
    assert training.ours(world.peft_model(dropout=0.0), found, chosen, 0.0) > 0


def test_stage_two(found):
    model = world.peft_model(dropout=0.0)
    chosen = world.batches(found, 2, grouped=True)
    assert gates.stage_two(world.base_model().eval(), gates._Factors(model), found, chosen) > 0


@pytest.mark.parametrize(("name", "options"), [("hellaswag", {}), ("arc_easy", {"shots": 0}), ("mmlu", {"parts": 1})])
def test_evaluation(name, options):
    case = evaluation._Kept(
        evaluation.SharedPrefixLM(world.base_model(torch.float32).eval(), world.tokenizer()),
        evaluation.task(name, 3, **options),
    )
    case.run()
    assert len(case.accuracy) == 3
    assert all(math.isfinite(answer) for answer, _ in case.answers)


def test_memory_is_planned_within_a_fifth():
    """Of stage 1, stage 2, 30 % of the layers and the evaluation; time depends on what else the machine does."""
    found = {row["kind"]: row["ratio"] for row in planned.study(96) if row["quantity"] == "peak memory"}
    for kind in planned.KINDS:
        assert 0.8 < found[kind] < 1.2, found
