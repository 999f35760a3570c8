"""The cost-aware policy: costs against counted operations, the best set, and never dearer than as many of `top`."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from pydantic import ValidationError
from transformers import Gemma3Config

from layersig.errors import UserError
from layersig.layers import Group, Layer, LayerMap, Part, Unit
from layersig.plugin.manager import installed
from layersig.recipe.schema import TrainSettings
from layersig.records import Ranking
from layersig.selecting.context import SelectionContext
from layersig.selecting.costs import Arithmetic, Costs, Rates
from layersig.streams import Streams

SHAPES = {
    "self_attn.q_proj": (8, 8),
    "self_attn.k_proj": (4, 8),
    "self_attn.o_proj": (8, 8),
    "mlp.up_proj": (16, 8),
    "mlp.down_proj": (8, 16),
}
DEPTH, RANK = 6, 2
LAYERS = LayerMap(
    tuple(
        Layer(f"model.layers.{block}.{kind}", block, kind, Part.MLP, out * inner, (out, inner))
        for block, (kind, (out, inner)) in product(range(DEPTH), SHAPES.items())
    ),
    tuple(f"model.layers.{block}" for block in range(DEPTH)),
    tied_head=True,
)


def arithmetic(groups: tuple[Group, ...], method: str = "lora") -> Arithmetic:
    work, train = installed().get("method", method), TrainSettings(method=method, rank=RANK)
    trained = {group.name: sum(work.create().trained_values(each, train) for each in group.members) for group in groups}
    return Arithmetic(groups, trained, work.result == "checkpoint", train, vocabulary=20)


def test_a_configuration_that_states_no_size_has_its_defaults() -> None:
    train = TrainSettings(rank=RANK)
    found = Arithmetic.of(LAYERS.groups(Unit.MODULE), installed().get("method", "lora"), train, Gemma3Config())
    assert (found.vocabulary, found.asked) == (Gemma3Config().text_config.vocab_size, None)
    assert found.trained == arithmetic(LAYERS.groups(Unit.MODULE)).trained


def choose(scores: dict[str, float], method: str = "lora", unit: Unit = Unit.MODULE, **params: object) -> list[Group]:
    groups = LAYERS.groups(unit)
    policy = installed().get("policy", "cost-aware")
    context = SelectionContext(
        groups, {"a/b": Ranking(unit, scores)}, None, Streams(0, 0), policy.parse(params), arithmetic(groups, method)
    )
    chosen = set(policy.create().select(context))
    return [group for group in groups if group.name in chosen]


def test_time_is_what_the_passes_multiply() -> None:
    groups = LAYERS.groups(Unit.MODULE)
    costs, block = arithmetic(groups).time, sum(out * inner for out, inner in SHAPES.values())
    head = 8 * 20
    for lowest in range(DEPTH):
        assert costs.reached[lowest] == (DEPTH + DEPTH - lowest) * block + 2 * head
    q, up = groups[5], groups[8]
    assert costs.of([q, up]) == costs.reached[1] + 3 * RANK * (8 + 8 + 16 + 8)
    assert arithmetic(groups, "full").time.of([q]) == costs.reached[1] + 8 * 8
    assert arithmetic(groups).parameters.of([q, up]) == RANK * (16 + 24)


def test_memory_is_state_and_what_blocks_above_the_lowest_keep() -> None:
    groups = LAYERS.groups(Unit.MODULE)
    costs = arithmetic(groups).memory
    outputs = sum(out for out, _ in SHAPES.values())
    assert costs.of([groups[5]]) == 16 * RANK * 16 + 4096 * 2 * 3 * (8 + outputs) * (DEPTH - 1)


def test_measured_rates_are_shared_out_as_operations_are() -> None:
    groups = LAYERS.groups(Unit.MODULE)
    counted = arithmetic(groups)
    seconds = counted.seconds(Rates(1.0, 2.5, 3.0))
    assert seconds.everything == pytest.approx(3.0)
    assert seconds.reached[0] == pytest.approx(2.5)
    assert seconds.reached[-1] == pytest.approx(1.0)
    adapter = seconds.of([groups[-1]]) - seconds.reached[DEPTH - 1]
    assert adapter == pytest.approx(0.5 * counted.trained[groups[-1].name] / sum(counted.trained.values()))


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("of", ["time", "memory", "parameters"])
def test_it_keeps_the_budget_and_is_never_dearer_than_as_many_of_top(of: str, method: str) -> None:
    rng = np.random.default_rng(0)
    groups = LAYERS.groups(Unit.MODULE)
    costs: Costs = getattr(arithmetic(groups, method), of)
    for share in rng.uniform(0.6, 1.0, 10):
        ranking = dict(zip(LAYERS.names, rng.permutation(len(groups)).astype(float).tolist(), strict=True))
        chosen = choose(ranking, method, share=float(share), of=of)
        budget = share * costs.everything
        assert costs.of(chosen) <= budget + 1e-6
        top = sorted(groups, key=lambda group: -ranking[group.name])[: len(chosen)]
        assert costs.of(chosen) <= costs.of(top) + 1e-6
        # No unit could be added, and none exchanged for a better one, within the budget.
        worth = sum(ranking[group.name] for group in chosen)
        for group in set(groups) - set(chosen):
            for others in [chosen, *([each for each in chosen if each is not one] for one in chosen)]:
                if costs.of([*others, group]) <= budget - 1e-6:
                    assert sum(ranking[each.name] for each in [*others, group]) <= worth + 1e-6


def test_a_low_layer_is_taken_only_if_it_is_worth_the_way_down() -> None:
    even = dict.fromkeys(LAYERS.names, 1.0)
    lowest, share = LAYERS.names[0], 0.7
    assert lowest not in {group.name for group in choose(even, share=share)}
    costs = arithmetic(LAYERS.groups(Unit.MODULE)).time
    others = len(choose(even, share=share))
    # Alone it leaves room for the cheapest others, whose number says what it must be worth.
    room = share * costs.everything - costs.reached[0] - costs.own[lowest]
    beside = 0
    for cost in sorted(costs.own.values())[:-1]:
        room, beside = room - cost, beside + (room >= cost)
    for more, taken in ((others - beside - 0.5, False), (others - beside + 0.5, True)):
        assert (lowest in {group.name for group in choose({**even, lowest: more}, share=share)}) is taken


def test_places_and_scores_differ_and_blocks_are_units_too() -> None:
    skewed = {**{name: float(place) for place, name in enumerate(LAYERS.names)}, LAYERS.names[0]: 1000.0}
    assert choose(skewed, share=0.75)[0].name == LAYERS.names[0]
    assert min(group.block for group in choose(skewed, share=0.75, worth="place")) > 0
    blocks = choose({f"model.layers.{block}": 1.0 for block in range(DEPTH)}, unit=Unit.BLOCK, share=0.75)
    assert [group.block for group in blocks] == [3, 4, 5]


def test_rates_can_change_the_choice() -> None:
    even = dict.fromkeys(LAYERS.names, 1.0)
    slow_way_back = choose(even, share=0.8, rates=(1.0, 5.0, 5.01))
    slow_adapters = choose(even, share=0.8, rates=(1.0, 1.01, 5.0))
    assert min(group.block for group in slow_way_back) > min(group.block for group in slow_adapters) == 0


def test_where_adapters_cost_next_to_nothing_a_budget_is_a_cut_whatever_the_scores() -> None:
    rng = np.random.default_rng(0)
    above = [group for group in LAYERS.groups(Unit.MODULE) if group.block >= 2]
    for _ in range(5):
        scores = dict(zip(LAYERS.names, rng.gamma(1.0, size=len(LAYERS.names)).tolist(), strict=True))
        assert choose(scores, share=0.75, rates=(1.0, 5.0, 5.01)) == above


def test_what_cannot_be_chosen_from_is_refused() -> None:
    even = dict.fromkeys(LAYERS.names, 1.0)
    with pytest.raises(UserError, match=r"0\.1 of the time of all layers is too little.* is 0\.\d+$"):
        choose(even, share=0.1)
    with pytest.raises(UserError, match=r'scores -1; take a scorer without negative scores.* or worth = "place"'):
        choose({**even, LAYERS.names[3]: -1.0}, share=0.5)
    assert choose({**even, LAYERS.names[3]: -1.0}, share=0.8, worth="place")
    for wrong in (
        {"share": 0.0},
        {"share": 0.5, "rates": (1.0, 0.5, 2.0)},
        {"share": 0.5, "of": "memory", "rates": (1.0, 2.0, 3.0)},
    ):
        with pytest.raises(ValidationError):
            installed().get("policy", "cost-aware").parse(wrong)


def test_experts_count_as_far_as_a_token_meets_them() -> None:
    expert = Layer("model.layers.0.mlp.experts.up", 0, "mlp.experts.up", Part.MLP, 4 * 16 * 8, (4, 16, 8), True)
    q = Layer("model.layers.0.q", 0, "q", Part.ATTENTION, 64, (8, 8))
    groups = LayerMap((q, expert), ("model.layers.0",), tied_head=True).groups(Unit.MODULE)
    counted = Arithmetic(groups, dict.fromkeys([q.name, expert.name], 1), False, TrainSettings(), vocabulary=0, asked=1)
    assert counted.time.reached == (2 * (64 + 128), 64 + 128)
    assert np.isclose(counted.time.everything, 2 * 192 + 6)
