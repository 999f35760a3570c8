"""Rankings that cross data sets and models, and random control sets by graft, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layersig.layers import LayerMap
from tests.e2e.world import Run, World
from tests.study import chats, write_lines, write_study

pytestmark = pytest.mark.slow

SETS = 19
RECIPE = """\
name = "carried"
model = { source = "path:model", dtype = "float32" }
data = [
  { name = "chats", source = "file:chats.jsonl", heldout = 6, max_tokens = 64 },
  { name = "others", source = "file:others.jsonl", heldout = 6, max_tokens = 64 },
]
train = { rank = 2, steps = 2, batch_size = 4, learning_rate = 0.01 }

[scorers.ila]
kind = "ila"
steps = 2

[scorers.llama]
kind = "transfer"
source = "file:SOURCE"
scorer = "ila"

[[arms]]
name = "graft-30"
scorer = "ila"
select = { kind = "top", fraction = 0.30 }
action = "graft"

[[arms]]
name = "llama-30"
scorer = "llama"
select = { kind = "top", fraction = 0.30 }

[[arms]]
name = "chats-30"
scorer = "ila"
ranked_on = "chats"
select = { kind = "top", fraction = 0.30 }

[[arms]]
name = "common"
scorer = "ila"
select = { kind = "intersection", fraction = 0.80 }
action = "graft"

[[arms]]
name = "either"
scorer = "ila"
select = { kind = "union", fraction = 0.30 }
action = "graft"

[analyze]
control_sets = 19
"""


@pytest.fixture(scope="module")
def llama(first: Run) -> Run:
    """A study of a Llama of 3 blocks, whose rankings are carried over."""
    return first


@pytest.fixture(scope="module")
def gemma(llama: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A study of a Gemma of 4 blocks that reads them."""
    base = tmp_path_factory.mktemp("carried")
    recipe = write_study(base, "gemma2", recipe=RECIPE.replace("SOURCE", str(llama.path)))
    write_lines(base / "others.jsonl", list(reversed(chats(30)))[:20])
    return World(base, recipe).run().run


def test_a_ranking_crosses_to_another_model_of_another_depth(llama: Run, gemma: Run) -> None:
    rows = {(row["scorer"], row["data"]): row for row in gemma.lines("scores.jsonl")}
    row = rows["llama", None]
    layers = LayerMap.from_json(json.loads((gemma.path / "layers.json").read_text()))
    assert (len(layers), row["coverage"]) == (28, 1.0)
    source = {row["scorer"]: row["scores"] for row in llama.lines("scores.jsonl")}["ila"]
    ordered = sorted(source, key=lambda name: source[name])
    relative = {name: ordered.index(name) / (len(ordered) - 1) for name in ordered}
    for kind in ("self_attn.q_proj", "mlp.down_proj"):
        # Block 0 of 4 has its middle at 1/8 of the depth, before the first middle of 3 blocks; block 1 at 3/8.
        first, second = (relative[f"model.layers.{block}.{kind}"] for block in (0, 1))
        assert row["scores"][f"model.layers.0.{kind}"] == pytest.approx(first)
        assert row["scores"][f"model.layers.1.{kind}"] == pytest.approx(first + (second - first) * (3 / 8 - 1 / 6) * 3)
    assert len(gemma.layers("llama-30")) == 8
    assert "100 % of the layers covered" in (gemma.path / "report.md").read_text()


def test_a_ranking_crosses_to_another_data_set(gemma: Run) -> None:
    own, carried = gemma.layers("graft-30", "chats"), gemma.layers("chats-30", "others")
    assert own == carried
    assert gemma.adapter("chats-30", "others").is_dir()


def test_intersection_and_union_go_over_the_data_sets(gemma: Run) -> None:
    scores = {row["data"]: row["scores"] for row in gemma.lines("scores.jsonl") if row["scorer"] == "ila"}

    def top(data: str, count: int) -> set[str]:
        return set(sorted(scores[data], key=lambda name: -scores[data][name])[:count])

    assert set(gemma.layers("common")) == top("chats", 22) & top("others", 22)
    assert set(gemma.layers("either")) == top("chats", 8) | top("others", 8)


def test_random_sets_by_graft_make_a_test(gemma: Run) -> None:
    names = ["graft-30.random", *(f"graft-30.random-{number}" for number in range(2, SETS + 1))]
    drawn = [tuple(gemma.layers(name)) for name in names]
    assert len(set(drawn)) > SETS // 2
    assert not [name for name in gemma.stages if name.startswith("tune/graft-30")]
    found = json.loads((gemma.path / "analysis.json").read_text())["control_sets"]
    (row,) = [row for row in found if (row["task"], row["data"]) == ("heldout/others", "others")]
    assert row["sets"] == SETS
    assert row["p"] == pytest.approx((1 + row["at_least_as_good"]) / (1 + SETS))
    assert row["sentence"] in (gemma.path / "report.md").read_text().replace("\\", "")
    values = (gemma.path / "report.md").read_text().split("<summary>What the arms score</summary>")[1]
    assert "graft-30.random-2" not in values.split("<details>")[0], "the further sets are folded away"
    assert "graft-30.random-2" in values.split("<summary>Further random sets")[1].split("</details>")[0]


def test_the_file_counts_and_not_its_place(llama: Run, gemma: Run, tmp_path: Path) -> None:
    base = gemma.path.parents[2]
    copy = tmp_path / "scores.jsonl"
    copy.write_bytes((llama.path / "scores.jsonl").read_bytes())
    again = World(base, base / "recipe.toml").run(f"scorers.llama.source=file:{copy}").run
    assert again.ran == set()
