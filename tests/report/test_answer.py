"""The front page names no layer and no share that the run does not bear out, and is about the primary scorer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layersig.findings.rows.arms import COMPARISONS
from layersig.findings.rows.claims import CLAIMS
from layersig.findings.rows.layers import LAYERS
from layersig.findings.tables import Findings
from layersig.report.document import Bullets, Code, Heading, Paragraph, Strong, Text, Tiles
from layersig.report.material import Material
from layersig.topics import answer
from layersig.topics.analyse import analyse
from layersig.topics.render import material_of
from tests.report.studies import Study
from tests.report.synthetic import write_run

STUDY = Study(blocks=4, data=("alpaca",), seeds=(0, 1, 2, 3), tasks=(("arc_easy", 20),), heldout=8, steps=4)


def lines(run: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    found = [change(json.loads(line)) for line in (run / "scores.jsonl").read_text().splitlines()]
    (run / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in found))


def analysed(run: Path, study: Study, change: Callable[[dict[str, Any]], dict[str, Any]] | None = None) -> Material:
    recipe = write_run(run, study)
    recipe = recipe.model_copy(update={"analyze": recipe.analyze.model_copy(update={"resamples": 100})})
    if change is not None:
        lines(run, change)
    analyse(run, recipe)
    return material_of(run)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return analysed(tmp_path_factory.mktemp("answer") / "run", STUDY)


def bullets(material: Material, title: str) -> list[Text]:
    section = answer.section(material)
    assert section is not None
    after = section.blocks.index(Heading(title)) + 1
    found = section.blocks[after]
    assert isinstance(found, Bullets)
    return list(found.items)


def which(material: Material) -> str:
    (text,) = bullets(material, "Which layers matter")
    return "".join(part if isinstance(part, str) else part.text for part in text)


def layers(material: Material) -> list[str]:
    """The layers that the front page names."""
    names = {row.layer for row in material.findings[LAYERS]}
    return [
        part.text
        for text in bullets(material, "Which layers matter")
        for part in text
        if isinstance(part, Code) and part.text in names
    ]


def test_layers_are_named_where_the_seeds_agree(good: Material) -> None:
    assert len(layers(good)) == 3
    assert "no layer is named" not in which(good)


def shuffled(seed: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    rng = np.random.default_rng(seed)

    def change(line: dict[str, Any]) -> dict[str, Any]:
        names = list(line["scores"])
        return {**line, "scores": dict(zip(names, rng.uniform(size=len(names)).tolist(), strict=True))}

    return change


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_noise_names_no_layer_and_says_what_was_tested(tmp_path: Path, seed: int) -> None:
    material = analysed(tmp_path / "run", replace(STUDY, tasks=(), heldout=4), shuffled(seed))
    assert layers(material) == []
    assert "no layer is named" in which(material)
    assert "are not shown to agree above chance: kappa" in which(material)


@pytest.mark.parametrize(("seeds", "more"), [((0,), ""), ((0, 1), "kappa of the two seeds is")])
def test_with_one_or_two_seeds_the_noise_is_unknown_and_what_would_tell_is_said(
    tmp_path: Path, seeds: tuple[int, ...], more: str
) -> None:
    material = analysed(tmp_path / "run", replace(STUDY, seeds=seeds, tasks=(), heldout=4))
    assert layers(material) == []
    text = which(material)
    assert "the noise of this ranking is unknown" in text
    assert "seeds = [0, 1, 2, 3, 4]" in text
    assert more in text


def test_a_ranking_that_depends_on_no_seed_has_no_noise_and_is_named(tmp_path: Path) -> None:
    def fixed(line: dict[str, Any]) -> dict[str, Any]:
        return line if line["scorer"] != "ila" else {**line, "seed": None}

    run = tmp_path / "run"
    recipe = write_run(run, replace(STUDY, seeds=(0,), tasks=(), heldout=4))
    lines(run, fixed)
    analyse(run, recipe)
    assert len(layers(material_of(run))) == 3


@pytest.mark.parametrize("scorer", ["ila", "gradient-norm"])
def test_it_is_about_the_scorer_of_the_primary_arm(tmp_path: Path, scorer: str) -> None:
    run = tmp_path / "run"
    recipe = write_run(run, replace(STUDY, extra_scorer=True, tasks=(), heldout=4))
    primary = {"ila": "ila-75", "gradient-norm": "gradient-30"}[scorer]
    recipe = recipe.model_copy(
        update={"analyze": recipe.analyze.model_copy(update={"primary": (primary,), "resamples": 100})}
    )
    analyse(run, recipe)
    material = material_of(run)
    (text,) = bullets(material, "Which layers matter")
    assert text[1] == Code(scorer)
    section = answer.section(material)
    assert section is not None
    shown = section.blocks[0]
    assert isinstance(shown, Tiles)
    assert primary in shown.items[0].note


@pytest.mark.parametrize(
    ("order", "first"), [(("ila", "gradient-norm"), "ila"), (("gradient-norm", "ila"), "gradient-norm")]
)
def test_without_arms_it_is_about_the_first_scorer_of_the_recipe(
    tmp_path: Path, order: tuple[str, ...], first: str
) -> None:
    run = tmp_path / "run"
    recipe = write_run(run, replace(STUDY, tasks=(), heldout=4))
    scorers = {"random": recipe.scorers["random"], **{name: recipe.scorers[name] for name in order}}
    analyze = recipe.analyze.model_copy(update={"primary": ()})
    analyse(run, recipe.model_copy(update={"arms": (), "scorers": scorers, "analyze": analyze}))
    (text,) = bullets(material_of(run), "Which layers matter")
    assert text[1] == Code(order[0])


def changed(material: Material, table: str, **update: object) -> Material:
    rows = [row.model_copy(update=update) for row in material.findings.tables[table]]
    findings: Findings = material.findings.model_copy(
        update={"tables": {**material.findings.tables, table: tuple(rows)}}
    )
    return replace(material, findings=findings)


def bold(material: Material) -> list[str]:
    texts = bullets(material, "What tuning only those did")
    return [part.text for text in texts for part in text if isinstance(part, Strong)]


def tiles(material: Material) -> list[str]:
    section = answer.section(material)
    assert section is not None
    found = section.blocks[0]
    assert isinstance(found, Tiles)
    return [tile.label for tile in found.items]


def test_a_share_with_an_interval_on_a_task_that_can_tell_is_bold(good: Material) -> None:
    assert any("keeps" in text for text in bold(good))
    assert "of the gain of all layers kept" in tiles(good)


@pytest.mark.parametrize(
    ("table", "update", "words"),
    [
        ("shares", {"shape": "everything", "low": None, "high": None}, "excludes no share"),
        ("shares", {"shape": "two rays", "low": -0.4, "high": 3.0}, "set unbounded"),
        ("shares", {"shape": None, "no_interval": "nothing varied"}, "nothing varied"),
        ("shares", {"share": -118.0, "low": -202.0, "high": -82.0}, "worse than the untouched model"),
        ("assays", {"low": 0.02, "margin": 0.02}, "the task cannot tell"),
        ("assays", {"low": -0.1}, "the task cannot tell"),
    ],
)
def test_a_share_that_says_nothing_is_neither_bold_nor_a_tile(
    good: Material, table: str, update: dict[str, object], words: str
) -> None:
    material = changed(good, table, **update)
    assert bold(material) == []
    assert "of the gain of all layers kept" not in tiles(material)
    texts = bullets(material, "What tuning only those did")
    said = [part for text in texts for part in text if isinstance(part, str)]
    assert any(part.startswith("No share of the gain of all layers is stated") and words in part for part in said)


def test_it_says_how_many_comparisons_were_declared_and_the_size_of_their_family(good: Material) -> None:
    rows, claims = good.findings[COMPARISONS], good.findings[CLAIMS]
    declared = sum(row.declared for row in rows)
    (size,) = {row.family_size for row in rows if row.declared}
    assert declared == 1
    assert size == declared + sum(claim.declared for claim in claims) == 2
    section = answer.section(good)
    assert section is not None
    paragraph = next(block for block in section.blocks if isinstance(block, Paragraph))
    text = "".join(str(part) for part in paragraph.text)
    assert "1 comparison was declared before the outcome was measured and corrected in a family of 2 tests" in text
