"""What is counted without a model: judge calls, plugins, speeds of other models, what is documented."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from layersig.data.examples import read_examples
from layersig.data.pairs import REJECTED
from layersig.engine.nodes import Node
from layersig.engine.pace import duration
from layersig.fast.budget import cache_bytes
from layersig.pipeline import stages
from layersig.planning.assumptions import SPREADS, Assumptions, assumptions
from layersig.planning.costs import cost_of, costs_of
from layersig.planning.facts import Facts
from layersig.planning.gpu_memory import GpuMemory
from layersig.planning.known import Known, known
from layersig.planning.passes import Passes
from layersig.planning.rates import Speed
from layersig.planning.scorers import _BATCHES, _BLOCKS, _NONE
from layersig.planning.shapes import shapes
from layersig.planning.writing import judge_calls
from layersig.plugin.builtin import layersig_components
from layersig.plugin.manager import built_in
from layersig.recipe.load import load
from layersig.recipe.schema import TrainSettings
from tests.models.architectures import tiny_architecture
from tests.objectives.world import write_pairs
from tests.planning.studies import LORA, write
from tests.study import write_lines
from tests.tiny import ARCHITECTURES, save_tiny, tiny_model
from tests.training.world import examples

COUNTED = {"eva": {"eva": {"rho": 1.0}}, "gora": {"gora": {"least": 1.0, "most": 1.0}}}
"""What makes a method count the same for every layer."""
JUDGED = """
[judge]
endpoint = "http://localhost:1/v1"
model = "judge"
repeats = 3
"""
ASKED = 'tasks = ["file:choice.yaml"]\nconversations = ["file:questions.jsonl"]'


def _judged(folder: Path, *overrides: str) -> Facts:
    recipe = write(folder, "lora")
    recipe.write_text(LORA.replace('tasks = ["file:choice.yaml"]', ASKED) + JUDGED)
    asked = [("a", ["one?"]), ("b", ["one?", "two?"]), ("c", ["one?", "two?", "three?"])]
    write_lines(
        folder / "questions.jsonl", [{"question_id": name, "category": "x", "turns": turns} for name, turns in asked]
    )
    return Facts(known(load(recipe, overrides), lambda message: None), Assumptions())


@pytest.mark.parametrize(
    ("overrides", "alone", "pair"),
    [((), 18, 36), (("judge.repeats=1",), 6, 12), (("judge.pairwise=false",), 18, None)],
)
def test_judge_calls_count_turns_repeats_and_orders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...], alone: int, pair: int | None
) -> None:
    monkeypatch.setenv("LAYERSIG_CACHE", str(tmp_path / "cache"))
    facts = _judged(tmp_path, *overrides)
    calls = {stage.id: judge_calls(facts, stage) for stage in facts.known.graph.stages}
    graded = {count for name, count in calls.items() if name.startswith("grade/")}
    compared = {count for name, count in calls.items() if name.startswith("compare/")}
    assert graded == {alone}
    assert compared == (set() if pair is None else {pair})
    assert {count for name, count in calls.items() if not name.startswith(("grade/", "compare/"))} == {0}


@pytest.mark.parametrize(("name", "turns"), [("judge_mt_bench", 160), ("judge_vicuna", 160 + 80)])
def test_the_head_has_the_calls_of_an_arm(name: str, turns: int) -> None:
    # MT-Bench has 80 questions of two turns, Vicuna 80 of one. Each verdict twice; pairs in both orders.
    path = Path(__file__).parents[2] / "recipes" / f"{name}.toml"
    recipe = load(path).recipe
    assert recipe.judge is not None
    alone = turns * recipe.judge.repeats
    assert f"{turns} turns x {recipe.judge.repeats} repeats = {alone}" in path.read_text()
    assert f"{2 * alone} more" in path.read_text()


def test_every_scorer_that_layersig_brings_is_counted() -> None:
    brought = {component.name for component in layersig_components() if component.kind == "scorer"}
    assert brought == _BATCHES.keys() | _BLOCKS | _NONE


def test_the_scorer_of_a_plugin_is_named_as_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYERSIG_CACHE", str(tmp_path / "cache"))
    recipe = write(tmp_path, "lora")
    (tmp_path / "mine.py").write_text(
        "from layersig import scorer\n\n\n@scorer('mine', needs={'model', 'data'}, version=1)\n"
        "def mine(context):\n    return {layer: 1.0 for layer in context.layers}\n"
    )
    recipe.write_text(
        'plugins = ["./mine.py"]\n' + LORA.replace('kind = "ila"\nsteps = 2\nkeep_every = 1', 'kind = "mine"')
    )
    loaded = load(recipe)
    facts = Facts(Known(loaded, stages(loaded.recipe, loaded.components), {}, {}, {}, frozenset()), Assumptions())
    (stage,) = [stage for stage in facts.known.graph.stages if stage.kind == "score"]
    cost = cost_of(facts, stage, None)
    assert (cost.seconds, cost.passes.tokens) == (None, None)
    assert "plugin" in (cost.passes.unknown or "")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_shapes_are_those_of_the_model(architecture: str, tmp_path: Path) -> None:
    found, model = shapes(save_tiny(tmp_path, architecture)), tiny_model(architecture)
    assert found.stored == sum(parameter.numel() for parameter in model.parameters())
    assert found.depth == len(found.layers.blocks) == model.config.get_text_config().num_hidden_layers
    dense = sum(layer.parameters for layer in found.layers)
    assert (found.products < dense) is ("moe" in architecture)


def test_blocks_with_heads_of_their_own_are_counted_each(tmp_path: Path) -> None:
    model = tiny_architecture("gemma4_text")
    model.save_pretrained(tmp_path)
    found = shapes(tmp_path)
    sizes = {
        kind: [each.shape[0] for each in found.layers if each.kind.endswith(kind)] for kind in ("q_proj", "k_proj")
    }
    assert len(set(sizes["q_proj"])) == 2
    assert (found.queries, found.cached) == (sum(sizes["q_proj"]), 2 * sum(sizes["k_proj"]))
    assert found.pair_cost > 0
    assert cache_bytes(model) == 4 * found.cached


@pytest.mark.parametrize("method", built_in().names("method"))
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_method_counts_what_it_trains_and_stores(method: str, architecture: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from layersig.models.layermap import layer_map
    from layersig.models.update_folder import read_update
    from layersig.streams import Streams
    from layersig.training.methods import Base, component_of, tuned

    layers = list(shapes(save_tiny(tmp_path, architecture)).layers)[2:9]
    model = tiny_model(architecture)
    counted, settings = (
        component_of(method, ()).create(),
        TrainSettings(method=method, rank=5, **COUNTED.get(method, {})),
    )
    given = {"examples": examples(), "batches": [tuple(range(8))]}
    with tuned(model, layers, settings, base=Base("b"), steps=3, streams=Streams(0), **given) as tuning:
        trained = sum(value.numel() for value in tuning.parameters.values())
        tuning.save(tmp_path / "saved")
    stored = sum(value.numel() for value in load_file(next((tmp_path / "saved").glob("*.safetensors"))).values())
    update = read_update(tmp_path / "saved", layer_map(model), lambda: model)
    deltas = [update.delta(layer.name) for layer in layers]
    held = sum(delta.b.numel() + (0 if delta.a is None else delta.a.numel()) for delta in deltas)
    assert sum(counted.trained_values(layer, settings) for layer in layers) == trained
    assert sum(counted.stored_values(layer, settings) for layer in layers) == stored
    ranks = len(layers) * settings.adalora.init_r if method == "adalora" else 0  # E is multiplied into A
    assert sum(counted.update_values(layer, settings) for layer in layers) == held + ranks


def test_time_adds_up_what_passes_take() -> None:
    rates = {"train": 0.3, "plain": 0.2, "read": 0.1, "gate": 0.05, "write": 1.0}
    speed = Speed("model", "cpu", "2026-01-01", 1.0, rates, 0.5, None, 0.0, 1.0)
    assert speed.seconds(Passes()) == 0
    assert speed.seconds(Passes(30, 2, {"train": 10, "plain": 20})) == pytest.approx(0.5 + 3 + 4)
    assert speed.seconds(Passes(7, 0, {"read": 5, "gate": 2, "write": 2})) == pytest.approx(0.5 + 0.5 + 0.1 + 2)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "?"),
        (0.04, "0.0 s"),
        (9.9, "9.9 s"),
        (75, "75 s"),
        (100, "2 min"),
        (5940, "99 min"),
        (6000, "1.7 h"),
        (626_000, "174 h"),
    ],
)
def test_times_are_said_in_the_unit_that_fits(seconds: float | None, said: str) -> None:
    assert duration(seconds) == said


def test_the_documentation_has_every_name_and_default() -> None:
    page = (Path(__file__).parents[2] / "docs" / "planning.md").read_text(encoding="utf-8")
    for kind in ("loss", "share", "score"):
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{kind}.seed`")]
        parts = ("seed", "item", "residual")
        assert re.findall(r"`(\w+\.\w+)`", row) == [f"{kind}.{part}" for part in parts]
        assert row.rstrip(" |").rpartition("| ")[2] == ", ".join(f"{SPREADS[f'{kind}.{part}']:g}" for part in parts)
    for name in ("rows.DATA", "items.TASK", "step.seconds", "gain"):
        assert f"| `{name}` |" in page


def test_the_last_of_several_statements_counts(tmp_path: Path) -> None:
    recipe = load(write(tmp_path, "lora")).recipe
    found = assumptions(("rows.chats=5", "rows.chats=1_000", "loss.item=0"), recipe)
    assert (found.rows, found.spreads["loss.item"]) == ({"chats": 1000}, 0.0)
    assert found.stated == {"rows.chats", "loss.item"}


@pytest.mark.parametrize(("objective", "sides"), [("sft", 1), ("dpo", 2)])
def test_the_longest_conversation_may_be_one_with_a_rejected_response(
    objective: str, sides: int, tmp_path: Path
) -> None:
    loaded = load(write(tmp_path, "lora"), (f"train.objective={objective}",))
    written = write_pairs(tmp_path / "pairs", seed=1)
    longest = [int(read_examples(written, split).lengths.max()) for split in ("train", f"train{REJECTED}")]
    assert longest[0] < longest[1]
    nodes = {"data/chats": Node(written, "")}
    facts = Facts(Known(loaded, stages(loaded.recipe, loaded.components), {}, {}, nodes, frozenset()), Assumptions())
    assert facts.longest("chats") == max(longest[:sides])
    # Both rows of a pair are in one micro-batch.
    assert GpuMemory(facts, {}).item(loaded.recipe.train) == sides * max(longest[:sides])


def test_only_the_first_training_warms_the_process_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYERSIG_CACHE", str(tmp_path / "cache"))
    facts = Facts(known(load(write(tmp_path, "lora")), lambda message: None), Assumptions())
    cold = Speed("model", "cpu", "2026-01-01", 1.0, {"train": 1e-3}, 0.5, None, 0.0, 1.0)
    timed = facts.known.graph.stages
    added = {
        with_it.stage.id: with_it.seconds - without.seconds
        for with_it, without in zip(
            costs_of(facts, timed, replace(cold, warm_up=7.0)), costs_of(facts, timed, cold), strict=True
        )
        if with_it.seconds is not None and without.seconds is not None
    }
    assert {name: more for name, more in added.items() if more} == {"reference/chats/seed-0": pytest.approx(7.0)}


SEARCH = "train.search={learning_rates=[0.01,0.001],validation=0.2}"


@pytest.mark.parametrize(
    ("method", "batches", "more", "before"),
    [
        ("lora", 3, "", {}),
        ("eva", 3, "", {"read": 3}),
        ("gora", 3, "", {"plain": 3, "read": 3}),
        ("eva", 3, SEARCH, {"read": 6}),  # in either trial
        ("eva", 1000, "steps=4", {"read": 4}),  # a training has no more
    ],
)
def test_what_a_method_looks_at_first_is_counted(
    method: str,
    batches: int,
    more: str,
    before: dict[str, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LAYERSIG_CACHE", str(tmp_path / "cache"))
    recipe = write(tmp_path, "lora")
    own = "" if method == "lora" else f"method='{method}', {method}={{batches={batches}}}"

    def passes(*overrides: str) -> Passes:
        facts = Facts(known(load(recipe, overrides), lambda message: None), Assumptions())
        (stage,) = (stage for stage in facts.known.graph.stages if stage.id == "tune/ila-30/chats/seed-0")
        return cost_of(facts, stage, None).passes

    searched, keys = ((SEARCH,), "") if more == SEARCH else ((), more)
    plain, found = (
        passes(f"arms.0.train={{{', '.join(filter(None, each))}}}", *searched) for each in ((keys,), (own, keys))
    )
    added = {kind: found.by_kind[kind] - plain.by_kind[kind] for kind in plain.by_kind}
    assert plain.tokens is not None
    expected = {kind: before.get(kind, 0) * plain.tokens / plain.steps for kind in added}
    assert added == pytest.approx(expected)
