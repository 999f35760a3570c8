"""Every part of the replication from its recipe to its page, on a tiny model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.world import World
from tests.recompute import disagreements
from tests.replication.answers import Holds
from tests.replication.extracts import Extract, extract, read, write
from tests.replication.pages import answers, pages
from tests.replication.parts import PARTS, chosen
from tests.replication.questions import QUESTIONS
from tests.replication.run import run
from tests.replication.world import tiny, write_world


def test_hub_sources_give_way_to_files(tmp_path: Path) -> None:
    write_world(tmp_path)
    for part in PARTS:
        loaded = part.load(tmp_path)
        assert not any(entry.source.startswith("hub:") for entry in loaded.recipe.data), part.name
        assert part.load(None).id != loaded.id or not any("hub:" in line for line in loaded.text.splitlines())


def test_parts_have_names_of_their_own_and_unknown_ones_are_refused() -> None:
    assert len({part.name for part in PARTS}) == len(PARTS)
    assert [part.name for part in chosen(["fraction", "claim-6"])] == ["claim-6", "fraction"]
    with pytest.raises(SystemExit, match="no part 'claim-7'; there are claim-6,"):
        chosen(["claim-7"])


@pytest.mark.slow
@pytest.mark.parametrize("question", QUESTIONS, ids=[question.name for question in QUESTIONS])
def test_a_question_is_answered_from_its_recipes(question, tmp_path: Path) -> None:
    write_world(tmp_path)
    found: dict[str, Extract] = {}
    for part in PARTS:
        if part.name in (*question.parts, *question.repeats):
            loaded = tiny(part, tmp_path).load(tmp_path)
            world = World(tmp_path, loaded.path)
            made = world.run("--smoke", *loaded.overrides).run
            write(extract(part.name, made.path), tmp_path / "extracts")
            read_back = read(part.name, tmp_path / "extracts")
            assert read_back == extract(part.name, made.path)
            trained = [name for name in made.stages if name.partition("/")[0] in ("reference", "tune", "recover")]
            assert read_back.record["trainings"] == len(trained)
            found[part.name] = read_back
            assert list(disagreements(made.path)) == []
    answer = answers(found)[question.name]
    assert answer.holds is not Holds.NOT_RUN
    assert any(table.rows for table in answer.tables)
    assert str(tmp_path) not in pages(found)[f"{question.name}.md"]


@pytest.mark.slow
def test_a_part_is_planned_run_and_kept_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_world(tmp_path)
    monkeypatch.setenv("LAYERSIG_CACHE", str(tmp_path / "cache"))
    parts = [
        replace(part := tiny(chosen([name])[0], tmp_path), overrides=(*part.overrides, "seeds=[0, 1]", *changed))
        for name, changed in (("claim-6", ("scorers.fisher.examples=2",)), ("arms", ("train.steps=2",)))
    ]
    for part in (*parts, *parts):
        run(part, tmp_path / "runs", tmp_path, tmp_path / "extracts")
    rankings, arms = (read(part.name, tmp_path / "extracts") for part in parts)
    assert rankings is not None
    assert len(rankings.rows("block_correlations")) == 2
    assert arms is not None
    assert {row["arm"] for row in arms.rows("comparisons")} > {"ila-30", "ila-30.random"}
    assert (rankings.record["planned"], arms.record["planned"]) == (False, True)  # a plan is of declared comparisons
