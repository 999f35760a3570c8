"""The first screen explains its terms: what scorers do, what guessing would keep, which seeds an export takes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layersig.analysis.as_good import AsGood
from layersig.analysis.verdicts import Verdict
from layersig.report.comparison_text import comparison_text
from layersig.report.document import Bullets, Details, Paragraph, Step, Steps, Table, plain
from layersig.report.material import Material
from layersig.topics.analyse import analyse
from layersig.topics.arms.section import section as arms_section
from layersig.topics.brief import brief
from layersig.topics.front.chosen import composition
from layersig.topics.front.limits import limits
from layersig.topics.front.page import first_screen
from layersig.topics.front.scorers import about_scorers
from layersig.topics.front.standings import places_of
from layersig.topics.front.words import verdict_words
from layersig.topics.layers.section import section as layers_section
from layersig.topics.recovery.rows import RecoveryRow
from layersig.topics.render import material_of
from layersig.topics.retention.rows import RetentionClassRow
from tests.report.studies import Study
from tests.report.synthetic import write_run

STUDY = Study(blocks=4, data=("alpaca",), seeds=(3, 5), tasks=(("arc_easy", 20),), heldout=8, steps=4)
SAID = {"ila": "A mask that is learned", "first-k": "The earlier, the higher", "gradient-norm": "A norm"}


def made(run: Path, study: Study, said: dict[str, str] | None = None) -> Material:
    recipe = write_run(run, study)
    if said is not None:
        manifest = json.loads((run / "manifest.json").read_text())
        (run / "manifest.json").write_text(json.dumps({**manifest, "scorers": said}))
    analyse(run, recipe.model_copy(update={"analyze": recipe.analyze.model_copy(update={"resamples": 100})}))
    return material_of(run)


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return made(tmp_path_factory.mktemp("words") / "run", STUDY, SAID)


def with_rows(material: Material, **tables: Any) -> Material:
    findings = material.findings
    return replace(material, findings=findings.model_copy(update={"tables": {**findings.tables, **tables}}))


def each(material: Material, table: str, change: Callable[[Any], dict[str, object]]) -> Material:
    rows = material.findings.tables[table]
    return with_rows(material, **{table: tuple(row.model_copy(update=change(row)) for row in rows)})


def scorers(material: Material) -> list[str]:
    found = [block for block in first_screen(material)[1] if isinstance(block, Bullets)]
    return [plain(item) for block in found for item in block.items if plain(item).startswith("Scorer ")]


def last_step(material: Material) -> Step:
    (steps,) = [block for block in first_screen(material)[1] if isinstance(block, Steps)]
    return steps.items[-1]


def test_the_scorers_of_the_arms_say_what_they_do_and_no_others(material: Material) -> None:
    due = ["Scorer ila: A mask that is learned.", "Scorer first-k: The earlier, the higher."]
    assert sorted(scorers(material)) == sorted(due)
    text = " ".join(brief(material).split())
    assert all(f"- {words}" in text for words in due)


def test_two_scorers_of_one_kind_share_a_sentence(material: Material) -> None:
    one = each(material, "rankings", lambda row: {"kind": "ila"} if row.scorer == "first-k" else {})
    (text,) = scorers(one)
    assert text in ("Scorer ila, first-k: A mask that is learned.", "Scorer first-k, ila: A mask that is learned.")


def test_without_arms_the_scorer_that_ranks_says_what_it_does(material: Material) -> None:
    assert scorers(with_rows(material, selections=())) == ["Scorer ila: A mask that is learned."]


def test_a_run_that_kept_no_words_says_none(tmp_path: Path) -> None:
    assert scorers(made(tmp_path / "run", replace(STUDY, seeds=(0,), tasks=(), heldout=4))) == []


def pruned(material: Material, constant: float | None) -> Material:
    row = RetentionClassRow(
        arm="ila-30", data="alpaca", format="classification", retention=0.8, low=0.7, high=0.9, corrected=None,
        constant=constant, tasks=1, corrected_tasks=0, level=0.95, seeds=2, scope="method",
    )  # fmt: skip
    found = each(material, "selections", lambda row: {"action": "prune"})
    return with_rows(found, retention_classes=(row,))


def test_what_guessing_would_keep_stands_beside_what_is_kept(material: Material) -> None:
    for constant, head in ((0.62, "classification kept (guessing: 62 %)"), (None, "classification kept")):
        (table,) = [block for block in first_screen(pruned(material, constant))[1] if isinstance(block, Table)]
        assert head in [column.head for column in table.columns]
        assert ("the best of all constant answers" in table.caption) is (constant is not None)


@pytest.mark.parametrize(("constant", "expected"), [(0.62, False), (0.75, True), (None, False)])
def test_that_no_pruned_model_is_shown_to_beat_guessing_limits_the_answer(
    material: Material, constant: float | None, expected: bool
) -> None:
    found = pruned(material, constant)
    lines = ["".join(map(str, line)) for line in limits(found, places_of(found))]
    assert ("No arm is shown to beat guessing on classification tasks." in lines) == expected


def test_a_table_of_pruned_models_says_what_is_removed_and_what_is_trained_afterwards(material: Material) -> None:
    row = RecoveryRow(
        pruned="ila-30", recovered="ila-30-again", data="alpaca", task="heldout/alpaca", quantity="loss", kind="metric",
        untouched=1.0, before=3.0, after=2.0, difference=-1.0, low=None, high=None, level=0.95, no_interval=None, n=8,
        seeds=2, scope="method",
    )  # fmt: skip
    found = with_rows(pruned(material, None), recovery=(row,))
    (table,) = [block for block in first_screen(found)[1] if isinstance(block, Table)]
    assert "ila-30-again is ila-30, trained after the removal" in table.caption
    assert [column.head for column in table.columns][1:3] == ["removed", "weights removed"]
    assert "ila-30 removes on alpaca" in brief(found)
    assert ", trained on" not in brief(found)


def test_what_a_pruning_policy_takes_of_the_scores_is_said(material: Material) -> None:
    found = each(pruned(material, None), "selections", lambda row: {"policy": "lowest, by ila, count 8"})
    assert ("The lowest-scoring blocks are removed.",) in about_scorers(found, places_of(found))
    assert ("The lowest-scoring blocks are removed.",) not in about_scorers(material, places_of(material))


def test_the_export_says_whose_choice_it_takes(material: Material, tmp_path: Path) -> None:
    step = last_step(material)
    assert step.why.startswith("To train with these layers elsewhere (those chosen most often over 2 seeds);")
    run = f"{material.findings.name}/{material.findings.id}"
    assert shlex.split(step.command) == ["layersig", "export", run, "ila-30", "--to", "peft"]
    one = last_step(each(material, "selections", lambda row: {"runs": 1}))
    assert one.why.startswith("To train with these layers elsewhere; --to also takes axolotl")
    two = made(tmp_path / "run", replace(STUDY, data=("alpaca>other", "lima"), seeds=(0,), tasks=(), heldout=4))
    assert shlex.split(last_step(two).command)[-2:] == ["--data", "alpaca"]


def test_a_pruned_checkpoint_is_that_of_one_seed(material: Material) -> None:
    step = last_step(pruned(material, None))
    assert step.why == "The pruned checkpoint for transformers, that of seed 3 (--seed for another):"
    assert shlex.split(step.command)[-2:] == ["--seed", "3"]
    one = each(pruned(material, None), "results", lambda row: {"seeds": 1})
    assert shlex.split(last_step(one).command)[-1] == "FOLDER"


def test_arms_with_equal_results_are_called_identical(material: Material) -> None:
    reason = "nothing varies, so the size of the error is unknown"

    def equal(row: Any) -> dict[str, object]:
        same = {"estimate": 1e-9, "verdict": None, "no_interval": reason, "low": None, "high": None}
        return same if (row.arm, row.role) == ("ila-30", "random control") else {}

    found = each(material, "comparisons", equal)
    (table,) = [block for block in first_screen(found)[1] if isinstance(block, Table)]
    (row,) = [row for row in table.rows if plain(row[:1]) == "ila-30"]
    assert any(plain((cell,)).startswith("identical") for cell in row)
    assert "identical: the same result on every item, as of arms that tune the same layers" in table.caption.lower()
    assert "no verdict" not in table.caption.lower()
    rows = [row for row in found.findings.tables["comparisons"] if row.identical]
    assert "identical" in "\n".join(comparison_text(rows))
    apart = each(found, "comparisons", lambda row: {"estimate": 0.3} if row.identical else {})
    (table,) = [block for block in first_screen(apart)[1] if isinstance(block, Table)]
    assert f"No verdict where {reason}" in table.caption


def selecting(material: Material, **update: object) -> Material:
    return each(material, "selections", lambda row: dict(update) if row.arm == "ila-30" else {})


def test_an_arm_that_takes_all_layers_has_chosen_nothing(material: Material) -> None:
    of = material.findings.tables["selections"][0].of
    title, blocks = first_screen(selecting(material, layers=float(of)))
    assert title == f"ila-30 takes all {of} layers, so there is no choice to judge."
    assert any(f"It takes all {of} layers." in plain(block.text) for block in blocks if isinstance(block, Paragraph))


def test_a_policy_that_weighs_costs_says_so_and_several_scorers_are_plural(material: Material) -> None:
    costly = first_screen(selecting(material, policy="cost-aware, by ila, share 0.3"))[0]
    assert "choosing layers with the scorer ila and the cost of training them" in costly
    two = first_screen(selecting(material, policy="union, by ila and other", scorers=("ila", "other")))[0]
    assert "choosing layers with the scorers ila and other " in two


def test_a_single_chosen_type_is_named_alone(material: Material) -> None:
    rows = [row for row in material.findings.tables["selected_layers"] if row.arm == "ila-30"]
    kind = rows[0].kind
    text = plain(composition(with_rows(material, selected_layers=rows[:1]), places_of(material)[0]))
    assert text.startswith(f"Only the module type {kind} is chosen")
    assert "least often" not in text


def test_training_that_changes_nothing_is_called_that(material: Material) -> None:
    still = each(material, "results", lambda row: {"value": 1.5})
    still = with_rows(each(still, "comparisons", lambda row: {"verdict": None}), assays=(), shares=())
    assert first_screen(still)[0] == (
        "Tuning all layers left held-out loss as it was (1.500), so these data cannot tell what ila-30 keeps."
    )


def test_an_arm_better_than_all_layers_is_not_called_as_good(material: Material) -> None:
    claims = each(material, "claims", lambda row: {"conclusion": AsGood.AS_GOOD.value})
    for verdict, words in ((Verdict.BETTER_BY_MARGIN, "better beyond margin"), (Verdict.NOT_WORSE, "as good as")):
        found = each(claims, "comparisons", lambda row, verdict=verdict: {"verdict": verdict.value})
        (standing, *_) = places_of(found)[0].standings
        assert verdict_words(standing, "baseline").startswith(words)


def test_every_tied_score_begins_a_sentence(material: Material) -> None:
    tied = each(material, "rankings", lambda row: {"ties": len(material.findings.tables["units"])})
    assert ". All " in plain(composition(tied, places_of(tied)[0]))


def test_arms_that_nothing_was_measured_on_can_be_measured(material: Material) -> None:
    tables = dict.fromkeys(("results", "comparisons", "assays", "shares", "claims"), ())
    (steps,) = [block for block in first_screen(with_rows(material, **tables))[1] if isinstance(block, Steps)]
    (step,) = steps.items
    assert step.why.startswith("Nothing was measured on the arms.")
    assert shlex.split(step.command)[-1] == "evaluate.heldout=true"


def test_parts_without_verdicts_do_not_announce_any(material: Material) -> None:
    def titles(found: Material) -> list[str]:
        section = arms_section(found)
        assert section is not None
        return [block.summary for block in section.blocks if isinstance(block, Details)]

    assert any(title.startswith("Verdicts in full") for title in titles(material))
    silent = each(material, "comparisons", lambda row: {"sentence": None, "verdict": None})
    assert not any(title.startswith("Verdicts in full") for title in titles(with_rows(silent, assays=())))


def test_whole_counts_have_no_decimals(material: Material) -> None:
    one = each(material, "concentration", lambda row: {"selected": 2.0, "selected_low": 2, "selected_high": 2})
    section = layers_section(one)
    assert section is not None
    (table,) = [block for block in section.blocks if isinstance(block, Table) and block.csv == "concentration.csv"]
    assert {plain((row[2],)) for row in table.rows} == {"2"}
