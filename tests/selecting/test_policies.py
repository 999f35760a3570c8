"""Policies on a small model: what they choose, how they round, what they refuse."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layersig.errors import UserError
from layersig.layers import Group, Layer, LayerMap, Part, Unit
from layersig.plugin.manager import installed
from layersig.records import Ranking, Selection
from layersig.selecting.context import SelectionContext
from layersig.selecting.policies import rounded
from layersig.streams import Streams

KINDS = {"self_attn.q_proj": 4, "self_attn.k_proj": 2, "mlp.up_proj": 12}
LAYERS = LayerMap(
    tuple(
        Layer(
            f"model.layers.{block}.{kind}",
            block,
            kind,
            Part.MLP if kind.startswith("mlp") else Part.ATTENTION,
            size,
            (size, 1),
        )
        for block, (kind, size) in product(range(12), KINDS.items())
    ),
    tuple(f"model.layers.{block}" for block in range(12)),
    tied_head=True,
)
GROUPS = LAYERS.groups(Unit.MODULE)
DESCENDING = Ranking(Unit.MODULE, {group.name: -float(place) for place, group in enumerate(GROUPS)})
ASCENDING = Ranking(Unit.MODULE, {group.name: float(place) for place, group in enumerate(GROUPS)})


def choose(policy: str, params: dict, *, groups: tuple[Group, ...] = GROUPS, like=None, seed=0, **rankings) -> set[str]:
    component = installed().get("policy", policy)
    context = SelectionContext(groups, rankings, like, Streams(0, seed), component.parse(params))
    return set(component.create().select(context))


@pytest.mark.parametrize(
    ("share", "rounding", "count"),
    [
        (0.75 * 225, "nearest", 169),
        (0.75 * 225, "floor", 168),
        (0.3 * 210, "floor", 63),  # 62.99999999999999 in floating point
        (0.3 * 210, "ceil", 63),
        (2.5, "nearest", 3),
    ],
)
def test_shares_round_to_the_stated_count(share, rounding, count):
    assert rounded(share, rounding) == count


def test_top_takes_the_highest_and_freeze_leaves_the_lowest():
    names = [group.name for group in GROUPS]
    assert choose("top", {"fraction": 0.25}, ila=DESCENDING) == set(names[:9])
    assert choose("freeze", {"fraction": 0.25}, ila=DESCENDING) == set(names[:27])


def test_top_of_parameters_stays_within_the_share_of_weights():
    chosen = choose("top", {"fraction": 0.5, "of": "parameters"}, ila=DESCENDING)
    size = sum(group.parameters for group in GROUPS if group.name in chosen)
    total = sum(group.parameters for group in GROUPS)
    assert chosen == {group.name for group in GROUPS[: len(chosen)]}
    assert size <= total / 2 < size + GROUPS[len(chosen)].parameters


def test_ties_go_to_the_earlier_layer():
    flat = Ranking(Unit.MODULE, {group.name: 1.0 for group in GROUPS})
    assert choose("top", {"fraction": 0.25}, ila=flat) == {group.name for group in GROUPS[:9]}
    assert flat.ties == len(GROUPS)


def test_intersection_and_union_of_several_rankings():
    both = {"ila/a": DESCENDING, "ila/b": ASCENDING}
    names = [group.name for group in GROUPS]
    assert choose("intersection", {"fraction": 0.75}, **both) == set(names[9:27])
    assert choose("union", {"fraction": 0.25}, **both) == {*names[:9], *names[27:]}
    with pytest.raises(UserError, match="no layer in common"):
        choose("intersection", {"fraction": 0.25}, **both)


def counts(chosen: set[str], label) -> Counter:
    return Counter(label(group) for group in GROUPS if group.name in chosen)


def test_a_quota_by_type_takes_the_best_of_every_type():
    chosen = choose("quota", {"fraction": 0.25}, ila=DESCENDING)
    assert counts(chosen, lambda group: group.kind) == dict.fromkeys(KINDS, 3)
    assert chosen == {group.name for group in GROUPS if group.block < 3}
    assert chosen != choose("top", {"fraction": 0.25}, ila=ASCENDING)


@pytest.mark.parametrize(("bands", "first"), [(2, [0, 6]), (3, [0, 4, 8]), (5, [0, 3, 5, 8, 10])])
def test_a_quota_by_depth_takes_the_best_of_every_band(bands, first):
    chosen = choose("quota", {"fraction": 0.25, "by": "depth", "bands": bands}, ila=DESCENDING)
    found = counts(chosen, lambda group: max(each for each in first if each <= group.block))
    assert sorted(found) == first
    assert sum(found.values()) == 9
    for start, end in zip(first, [*first[1:], 12], strict=True):
        own = [group.name for group in GROUPS if start <= group.block < end]
        assert chosen & {*own} == {*own[: found[start]]}


def test_shares_of_nothing_are_refused():
    with pytest.raises(UserError, match="every group has the share 0"):
        choose("quota", {"fraction": 0.5, "shares": {"*": 0.0}}, ila=ASCENDING)


def test_a_quota_of_types_in_bands_and_shares_of_some_of_them():
    params = {"fraction": 0.5, "by": "type and depth", "bands": 2, "shares": {"mlp.*/1": 0.0, "self_attn.*": 1.0}}
    chosen = choose("quota", params, ila=ASCENDING)
    assert counts(chosen, lambda group: (group.kind[:3], group.block >= 6)) == {
        ("sel", False): 12,
        ("sel", True): 12,
        ("mlp", False): 3,
    }


@given(
    st.permutations(range(36)),
    st.floats(0.01, 1.0),
    st.sampled_from(["nearest", "floor", "ceil"]),
    st.sampled_from(["type", "depth", "type and depth"]),
    st.integers(2, 20),
)
def test_a_quota_takes_as_many_as_top_does_and_no_group_a_whole_unit_off_its_share(
    order, fraction, rounding, by, bands
):
    ranking = Ranking(Unit.MODULE, {group.name: float(order[place]) for place, group in enumerate(GROUPS)})
    share = {"fraction": fraction, "rounding": rounding}
    chosen = choose("quota", {**share, "by": by, "bands": bands}, ila=ranking)
    assert len(chosen) == len(choose("top", share, ila=ranking))
    labels = {"type": lambda g: g.kind, "depth": lambda g: g.block * bands // 12}
    labels["type and depth"] = lambda g: (labels["type"](g), labels["depth"](g))
    sizes, found = Counter(map(labels[by], GROUPS)), counts(chosen, labels[by])
    assert all(abs(found[label] - fraction * size) < 1 + 1e-6 for label, size in sizes.items()) or len(chosen) == 1


def test_a_quota_of_a_group_that_is_not_there_is_refused():
    with pytest.raises(UserError, match=r"select\.shares: 'mlp.down_proj' fits no group; did you mean 'mlp.up_proj'"):
        choose("quota", {"fraction": 0.5, "shares": {"mlp.down_proj": 0.2}}, ila=DESCENDING)
    with pytest.raises(UserError, match="'9' fits no group; there are 0, 1, 2, 3"):
        choose("quota", {"fraction": 0.5, "by": "depth", "shares": {"9": 0.2}}, ila=DESCENDING)


@given(st.sets(st.sampled_from([group.name for group in GROUPS]), min_size=1), st.integers(0, 50))
def test_matched_random_keeps_the_count_of_every_type(chosen, draw):
    like = Selection(tuple(chosen), 0)
    drawn = choose("matched-random", {"like": "ila-30", "draw": draw}, like=like)
    kind = {group.name: group.kind for group in GROUPS}
    assert Counter(kind[name] for name in drawn) == Counter(kind[name] for name in chosen)


def test_matched_random_differs_by_draw_and_seed_and_is_uniform():
    like = Selection(tuple(group.name for group in GROUPS if group.block in (0, 1, 2)), 0)
    draws = [choose("matched-random", {"like": "x", "draw": draw}, like=like, seed=1) for draw in range(400)]
    assert draws[0] == choose("matched-random", {"like": "x", "draw": 0}, like=like, seed=1)
    assert draws[0] != choose("matched-random", {"like": "x", "draw": 0}, like=like, seed=2)
    counts = Counter(name for drawn in draws for name in drawn)
    # Each of 36 layers is drawn with probability 1/4: 100 of 400, standard deviation 8.7.
    assert all(60 < counts[group.name] < 140 for group in GROUPS)


def test_a_fixed_draw_is_the_same_in_every_seed_and_another_one_for_another_root():
    like = Selection(tuple(group.name for group in GROUPS if group.block in (0, 1, 2)), 0)
    drawn = [choose("matched-random", {"like": "x", "fixed": True}, like=like, seed=seed) for seed in (1, 2, 3)]
    assert drawn[0] == drawn[1] == drawn[2]
    assert drawn[0] != choose("matched-random", {"like": "x", "fixed": True, "draw": 1}, like=like, seed=1)
    assert drawn[0] != choose("matched-random", {"like": "x"}, like=like, seed=1)


def test_matched_random_may_match_the_number_of_layers_or_their_weights():
    like = Selection(tuple(group.name for group in GROUPS if group.kind == "mlp.up_proj")[:5], 0)
    size = {group.name: group.parameters for group in GROUPS}
    kind = {group.name: group.kind for group in GROUPS}
    kinds = set()
    for draw in range(30):
        params = {"like": "x", "draw": draw}
        counted = choose("matched-random", {**params, "match": "layers"}, like=like)
        assert len(counted) == 5
        kinds |= {kind[name] for name in counted}
        weighed = choose("matched-random", {**params, "match": "parameters"}, like=like)
        # Nothing that is left over would still fit: the smallest layer has 2 weights.
        assert 5 * 12 - 2 < sum(size[name] for name in weighed) <= 5 * 12
    assert kinds == set(KINDS)


def test_list_reads_patterns_and_refuses_what_matches_nothing():
    assert choose("list", {"layers": ["model.layers.1.mlp.*", "model.layers.1?.self_attn.q_proj"]}) == {
        "model.layers.1.mlp.up_proj",
        "model.layers.10.self_attn.q_proj",
        "model.layers.11.self_attn.q_proj",
    }
    with pytest.raises(UserError, match=r"did you mean 'model.layers.3.mlp.up_proj'"):
        choose("list", {"layers": ["model.layers.3.mlp.up_prj"]})


def test_units_group_layers_without_loss():
    blocks, parts = LAYERS.groups(Unit.BLOCK), LAYERS.groups(Unit.PART)
    assert [group.name for group in blocks] == list(LAYERS.blocks)
    assert {group.name for group in parts} >= {"model.layers.1.attention", "model.layers.11.mlp"}
    for groups in (blocks, parts):
        assert sorted(layer.name for group in groups for layer in group.members) == sorted(LAYERS.names)


def test_type_depth_follows_the_smooth_part_and_ignores_single_layers():
    smooth = {group.name: -abs(group.block - 5.2) + 3 * (group.kind == "mlp.up_proj") for group in GROUPS}
    odd = "model.layers.2.self_attn.k_proj"
    ranking = Ranking(Unit.MODULE, {name: score + 6 * (name == odd) for name, score in smooth.items()})
    like = Selection(tuple(sorted(smooth)[:9]), 0)
    chosen = choose("type-depth", {"like": "x"}, like=like, ila=ranking)
    assert len(chosen) == 9
    assert odd in choose("top", {"fraction": 0.25}, ila=ranking)
    assert odd not in chosen
    assert sum(name.endswith("up_proj") for name in chosen) >= 6


BLOCKS = LAYERS.groups(Unit.BLOCK)


def by_block(*scores: float) -> Ranking:
    return Ranking(Unit.BLOCK, {group.name: score for group, score in zip(BLOCKS, scores, strict=True)})


def test_lowest_takes_the_bottom_and_of_equal_units_the_later():
    ranking = by_block(0, 1, 1, 1, 5, 5, 5, 5, 5, 5, 5, 0)
    assert choose("lowest", {"count": 3}, groups=BLOCKS, ila=ranking) == {f"model.layers.{n}" for n in (0, 11, 3)}
    assert choose("lowest", {"fraction": 0.25}, groups=BLOCKS, ila=ranking) == {f"model.layers.{n}" for n in (0, 11, 3)}
    assert choose("lowest", {"count": 2, "protect": [0, -1]}, groups=BLOCKS, ila=ranking) == {
        "model.layers.3",
        "model.layers.2",
    }


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"count": 11, "protect": [0, -1]}, "11 units are to be taken, and 10"),
        ({"count": 1, "protect": [12]}, "there is no block 12"),
    ],
)
def test_lowest_refuses_what_cannot_be(params, told):
    with pytest.raises(UserError, match=told):
        choose("lowest", params, groups=BLOCKS, ila=by_block(*range(12)))


def test_the_rule_can_take_from_the_lower_end():
    like = Selection(tuple(layer.name for layer in BLOCKS[5].members + BLOCKS[7].members), 0)
    ranking = by_block(*[(place - 8) ** 2 for place in range(12)])
    found = choose("type-depth", {"like": "x", "end": "lowest"}, groups=BLOCKS, like=like, ila=ranking)
    assert found == {"model.layers.8", "model.layers.7"}


@pytest.mark.parametrize("match", ["types", "layers"])
def test_a_control_that_cannot_match_is_refused(match):
    whole = Selection(LAYERS.names, 0)
    with pytest.raises(UserError, match=r"x has \d+ units of .*, and \d+ are not protected here.*protect fewer"):
        choose("matched-random", {"like": "x", "protect": [0], "match": match}, like=whole)


def test_controls_spare_protected_blocks():
    like = Selection(tuple(layer.name for group in BLOCKS[5:9] for layer in group.members), 0)
    spared = {"model.layers.0", "model.layers.11"}
    for seed in range(20):
        for match in ("types", "layers", "parameters"):
            params = {"like": "x", "protect": [0, -1], "match": match}
            drawn = choose("matched-random", params, groups=BLOCKS, like=like, seed=seed)
            assert len(drawn) == 4
            assert not drawn & spared
    params = {"like": "x", "end": "lowest", "protect": [0, -1]}
    lowest = choose("type-depth", params, groups=BLOCKS, like=like, ila=by_block(*range(12)))
    assert lowest == {f"model.layers.{place}" for place in (1, 2, 3, 4)}


def test_a_threshold_takes_what_the_same_number_of_places_would():
    scores = {group.name: float(place % 7) for place, group in enumerate(GROUPS)}
    ranking = Ranking(Unit.MODULE, scores)
    chosen = choose("threshold", {"above": 4.0}, r=ranking)
    assert chosen == {name for name, score in scores.items() if score in (5.0, 6.0)}
    assert chosen == choose("top", {"fraction": len(chosen) / len(GROUPS)}, r=ranking)


def test_a_threshold_that_no_score_reaches_is_refused():
    with pytest.raises(UserError, match=r"select\.above: no unit scores more than 40; the highest score is 35, and 0 "):
        choose("threshold", {"above": 40.0}, r=ASCENDING)


def test_types_with_the_highest_mean_are_taken_whole():
    one = Ranking(Unit.MODULE, {g.name: 2.0 * (g.kind == "mlp.up_proj") - g.block / 100 for g in GROUPS})
    assert {g.kind for g in GROUPS if g.name in choose("types", {"count": 1}, r=one)} == {"mlp.up_proj"}
    assert len(choose("types", {"count": 1}, r=one)) == 12
    # Of types with equal means the first.
    assert choose("types", {"count": 2}, r=one) == {
        g.name for g in GROUPS if g.kind in ("mlp.up_proj", "self_attn.q_proj")
    }
    with pytest.raises(UserError, match="4 types are to be taken, and there are 3"):
        choose("types", {"count": 4}, r=one)
