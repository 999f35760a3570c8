"""A ranking carried over: by name and by relative depth, against values worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scipy.stats import rankdata

from layersig.errors import UserError
from layersig.layers import Unit
from layersig.records import Ranking
from layersig.scoring.stage import score
from tests.scoring.heard import Heard
from tests.scoring.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)  # a Llama of 3 blocks


def carried(world: World, lines: list[dict], *, unit: Unit = Unit.MODULE, **params: object) -> tuple[Ranking, Heard]:
    """The ranking of the score stage, and what it warned of."""
    (world.root / "rankings").write_text("".join(json.dumps({"data": None, **line}) + "\n" for line in lines))
    job = world.job("transfer", {"scorer": "ila", **params}, unit=unit)
    job.inputs["rankings"] = world.root / "rankings"  # type: ignore[index]
    heard = Heard()
    object.__setattr__(job, "reporter", heard)
    score(job)
    return Ranking.from_json(json.loads((job.out / "ranking.json").read_text())), heard


def line(scores: dict[str, float], **labels: object) -> dict:
    return {"scorer": "ila", "seed": 0, "unit": "module", "scores": scores, **labels}


def test_the_same_model_keeps_its_order_by_name_and_by_depth(world: World) -> None:
    scores = {layer.name: (-1.0) ** place * place for place, layer in enumerate(world.layers)}
    for match in ("name", "depth"):
        ranking, heard = carried(world, [line(scores)], match=match)
        assert ranking.ordered() == Ranking(Unit.MODULE, scores).ordered()
        assert (ranking.coverage, heard.warnings) == (1.0, [])
        assert (max(ranking.scores.values()), min(ranking.scores.values())) == (1.0, 0.0)


def test_seeds_are_averaged_by_rank_whatever_their_scale(world: World) -> None:
    names = world.layers.names
    first = {name: float(place) for place, name in enumerate(names)}
    second = {name: 1e6 * (place % 4) for place, name in enumerate(names)}
    ranking, _ = carried(world, [line(first), line(second, seed=1)], match="name")
    ranks = (rankdata(list(first.values())) + rankdata(list(second.values()))) / 2
    for name, rank in zip(names, ranks, strict=True):
        assert ranking.scores[name] == pytest.approx((rank - 1) / (len(names) - 1))


def test_relative_depth_interpolates_between_the_blocks_of_a_deeper_model(world: World) -> None:
    # 6 blocks of up_proj, whose relative ranks are 0, .2, ..., 1; the middles of 3 blocks lie halfway between pairs.
    source = {f"transformer.h.{block}.mlp.up_proj": float(block) for block in range(6)}
    ranking, heard = carried(world, [line(source)])
    found = {name: value for name, value in ranking.scores.items() if name.endswith("up_proj")}
    assert list(found.values()) == pytest.approx([0.1, 0.5, 0.9])
    # The other six types of each block have no counterpart: they rank last, and are told.
    assert ranking.coverage == pytest.approx(3 / 21)
    assert {value for name, value in ranking.scores.items() if not name.endswith("up_proj")} == {0.0}
    assert "18 of 21 layers have no counterpart by depth" in heard.warnings[0]


def test_relative_depth_stays_flat_beyond_the_ends_of_a_shallower_model(world: World) -> None:
    source = {f"model.layers.{block}.mlp.up_proj": float(block) for block in range(2)}
    ranking, _ = carried(world, [line(source)])
    # Middles at 1/6, 1/2, 5/6 of the depth; the source has 1/4 and 3/4.
    found = [value for name, value in ranking.scores.items() if name.endswith("up_proj")]
    assert found == pytest.approx([0.0, 0.5, 1.0])


def test_blocks_carry_over_between_architectures(world: World) -> None:
    source = {f"transformer.h.{block}": float(block) for block in range(12)}
    ranking, _ = carried(world, [line(source, unit="block")], unit=Unit.BLOCK)
    assert list(ranking.scores.values()) == pytest.approx([1.5 / 11, 0.5, 9.5 / 11])
    assert ranking.coverage == 1.0


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"scorer": "owl"}, "has no scorer 'owl'; it has ila"),
        ({"data": "c"}, "has no ranking on 'c'; it has a, b"),
        ({}, "several data sets; set `data` to one of a, b"),
        ({"data": "a", "match": "name"}, "no layer of this model has a counterpart by name"),
    ],
)
def test_what_cannot_be_carried_over_is_told(world: World, params: dict, message: str) -> None:
    lines = [line({"h.0.attn.c_attn": 1.0}, data=data) for data in ("a", "b")]
    with pytest.raises(UserError, match=message):
        carried(world, lines, **params)
