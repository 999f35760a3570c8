"""The first screen says no more than the run bears out, is about the primary arm, and agrees with itself."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layersig.analysis.verdicts import Verdict
from layersig.findings.rows.arms import ASSAYS, COMPARISONS, SHARES
from layersig.findings.rows.claims import CLAIMS
from layersig.findings.rows.layers import LAYERS, SELECTED_LAYERS, SELECTIONS
from layersig.report.document import Figure, Steps, Table, plain
from layersig.report.material import Material
from layersig.report.numbers import number, percent
from layersig.report.terminal import VERDICTS
from layersig.topics.analyse import analyse
from layersig.topics.brief import brief
from layersig.topics.front.chosen import composition, distinct_choices
from layersig.topics.front.rows import contrasts as contrast_lines
from layersig.topics.front.standings import places_of
from layersig.topics.render import material_of
from layersig.topics.tuning_cost.rows import TrialRow
from tests.report.screens import STUDY, analysed, block, cells, changed, headline, limits, lines, shuffled, which
from tests.report.synthetic import write_run


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return analysed(tmp_path_factory.mktemp("answer") / "run", STUDY)


def test_layers_are_described_as_counted_and_never_named_one_by_one(good: Material) -> None:
    text = plain(which(good))
    rows = [row for row in good.findings[SELECTED_LAYERS] if row.arm == "ila-30"]
    runs = len(STUDY.seeds)
    counts = {kind: sum(r.selected for r in rows if r.kind == kind) / runs for kind in {r.kind for r in rows}}
    most = max(counts, key=lambda kind: counts[kind])
    assert f"Most often chosen, on average over runs: {most} ({counts[most]:.3g} of {STUDY.blocks})" in text
    assert "unknown" not in text
    assert not any(row.layer in text for row in good.findings[LAYERS])


def test_types_that_are_chosen_alike_are_not_ranked(good: Material) -> None:
    arm = places_of(good)[0].lead.arm
    like = next(row for row in good.findings[SELECTED_LAYERS] if row.arm == arm)
    block = [
        like.model_copy(update={**layer.model_dump(exclude={"parameters"}), "selected": like.runs})
        for layer in good.findings[LAYERS]
        if layer.block == 1
    ]
    tables = {**good.findings.tables, "selected_layers": tuple(block)}
    text = plain(which(replace(good, findings=good.findings.model_copy(update={"tables": tables}))))
    assert f"All module types are chosen equally often, on average over runs (1 of {STUDY.blocks})" in text


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_noise_is_said_to_be_noise(tmp_path: Path, seed: int) -> None:
    material = analysed(tmp_path / "run", replace(STUDY, tasks=(), heldout=4), shuffled(seed))
    assert "are not shown to agree above chance: kappa" in plain(which(material))


@pytest.mark.parametrize(
    ("seeds", "more"), [((0,), "is unknown: that takes at least 3 seeds"), ((0, 1), "kappa of the two seeds")]
)
def test_with_one_or_two_seeds_the_noise_is_unknown(tmp_path: Path, seeds: tuple[int, ...], more: str) -> None:
    material = analysed(tmp_path / "run", replace(STUDY, seeds=seeds, tasks=(), heldout=4))
    assert "Whether another run would choose the same layers is unknown" in plain(which(material))
    assert more in plain(which(material))


def test_a_ranking_that_depends_on_no_seed_has_no_noise(tmp_path: Path) -> None:
    def fixed(line: dict[str, Any]) -> dict[str, Any]:
        return line if line["scorer"] != "ila" else {**line, "seed": None}

    run = tmp_path / "run"
    recipe = write_run(run, replace(STUDY, seeds=(0,), tasks=(), heldout=4))
    lines(run, fixed)
    analyse(run, recipe)
    assert "unknown" not in plain(which(material_of(run)))


@pytest.mark.parametrize(
    ("primary", "scorer"), [pytest.param("ila-75", "ila", marks=pytest.mark.slow), ("gradient-30", "gradient-norm")]
)
def test_it_is_about_the_primary_arm(tmp_path: Path, primary: str, scorer: str) -> None:
    run = tmp_path / "run"
    recipe = write_run(run, replace(STUDY, extra_scorer=True, tasks=(), heldout=4))
    recipe = recipe.model_copy(
        update={"analyze": recipe.analyze.model_copy(update={"primary": (primary,), "resamples": 100})}
    )
    analyse(run, recipe)
    material = material_of(run)
    assert f"chosen by {scorer}" in headline(material)
    assert "no random control tells what the choice adds" in headline(material)
    assert plain(block(material, Table).rows[0][:1]) == primary
    assert primary in block(material, Figure).title
    assert f" {primary} " in block(material, Steps).items[-1].command


def test_layers_ranked_on_another_data_set_are_shown_once_and_judged_by_that_ranking(tmp_path: Path) -> None:
    study = replace(STUDY, data=("alpaca", "dolly", "lima", "code"), seeds=(0, 1, 2, 3, 4), tasks=(), heldout=4)
    found = analysed(
        tmp_path / "run", study, lambda line: shuffled(line["seed"])(line) if line["data"] == "dolly" else line
    )
    arm = places_of(found)[0].lead.arm
    unsure = {place.data: "not shown to agree" in plain(composition(found, place)) for place in places_of(found)}
    assert unsure == {"alpaca": False, "dolly": True, "lima": False, "code": False}

    chosen = [row for row in found.findings[SELECTED_LAYERS] if (row.arm, row.data) == (arm, "dolly")]
    others = [row for row in found.findings[SELECTED_LAYERS] if row.arm != arm]
    same = [row.model_copy(update={"data": data}) for data in study.data for row in chosen]
    material = changed(found, "selections", lambda row: row.arm == arm, ranked_on=("dolly",))
    tables = {**material.findings.tables, "selected_layers": (*others, *same)}
    material = replace(material, findings=material.findings.model_copy(update={"tables": tables}))
    assert all("not shown to agree" in plain(composition(material, place)) for place in places_of(material))
    ((_, names),) = distinct_choices(material, places_of(material))
    assert names == "all 4 data sets"
    assert brief(material).count("Most often chosen") == 1
    assert brief(found).count("Most often chosen") == 4


def test_verdicts_on_many_data_sets_are_counted(tmp_path: Path) -> None:
    study = replace(STUDY, data=("alpaca", "dolly", "lima", "code"), tasks=(), heldout=4)
    found = analysed(tmp_path / "run", study)
    material = changed(
        changed(found, "comparisons", lambda row: row.role == "random control", verdict=Verdict.NOT_WORSE),
        "comparisons",
        lambda row: row.role == "random control" and row.data == "lima",
        verdict=Verdict.UNDECIDED,
    )
    assert (
        cells(material, places_of(material)[0].lead.arm)["against random"] == "not worse on 3; not shown to differ on 1"
    )


@pytest.mark.parametrize(
    ("verdict", "said", "cell"),
    [
        (Verdict.BETTER_BY_MARGIN, "choosing layers with the scorer ila helped: ", "better beyond margin"),
        (
            Verdict.BETTER_SIZE_UNSETTLED,
            "choosing layers with the scorer ila helped, perhaps by less than {margin}: ",
            "better",
        ),
        (
            Verdict.BETTER_WITHIN_MARGIN,
            "choosing layers with the scorer ila helped, but by less than {margin}: ",
            "better within margin",
        ),
        (
            Verdict.EQUIVALENT,
            "choosing layers with the scorer ila made no difference larger than {margin}: ",
            "within margin",
        ),
        (
            Verdict.NOT_BETTER,
            "choosing layers with the scorer ila was shown not to help by more than {margin}: ",
            "not better",
        ),
        (Verdict.NOT_WORSE, "choosing layers with the scorer ila was not shown to help: ", "not worse"),
        (Verdict.UNDECIDED, "choosing layers with the scorer ila was not shown to help: ", "not shown to differ"),
        (
            Verdict.WORSE_WITHIN_MARGIN,
            "choosing layers with the scorer ila did harm, but by less than {margin}: ",
            "worse within margin",
        ),
        (Verdict.WORSE_BY_MARGIN, "choosing layers with the scorer ila did harm: ", "worse beyond margin"),
    ],
)
def test_headline_and_table_say_what_the_verdict_says(good: Material, verdict: Verdict, said: str, cell: str) -> None:
    material = changed(good, "comparisons", lambda row: row.role == "random control", verdict=verdict.value)
    (found,) = [r for r in good.findings[COMPARISONS] if r.role == "random control" and r.task == "heldout/alpaca"]
    margin = f"the margin ({number(found.margin, 2)} nats)"  # type: ignore[arg-type]
    assert headline(material).startswith(f"Over 4 seeds, {said.format(margin=margin)}")
    shown = cells(material, "ila-30")["against random"]
    assert shown.startswith(f"{cell}, ")
    (kept,) = [row for row in good.findings[SHARES] if row.arm == "ila-30" and row.task == "heldout/alpaca"]
    assert f"kept {percent(kept.share)} of the gain of tuning all of them" in headline(material)
    assert cells(material, "ila-30")["gain kept"].startswith(f"{percent(kept.share)} (")


def test_the_headline_says_how_much_of_the_gain_a_wide_margin_is(good: Material) -> None:
    (assay,) = [r for r in good.findings[ASSAYS] if r.task == "heldout/alpaca"]
    equal = changed(good, "comparisons", verdict=Verdict.EQUIVALENT.value, margin=0.4 * assay.gain)
    assert "no difference larger than the margin (" in headline(equal)
    assert " nats, 40 % of the gain): " in headline(equal)


def test_a_contrast_with_the_own_control_is_what_the_headline_tells(tmp_path: Path, good: Material) -> None:
    controls = {role: row.reference for role, row in places_of(good)[0].lead.against.items() if role != "baseline"}
    recipe = write_run(tmp_path / "run", STUDY)
    contrasts = tuple(("ila-30", control) for control in controls.values())
    analyze = recipe.analyze.model_copy(update={"resamples": 100, "contrasts": contrasts})
    analyse(tmp_path / "run", recipe.model_copy(update={"analyze": analyze}))
    material = material_of(tmp_path / "run")
    own = [row for row in material.findings[COMPARISONS] if (row.arm, row.reference) in contrasts]
    assert own
    assert all(controls[row.role] == row.reference for row in own)
    assert {row.declared for row in own if row.task == "heldout/alpaca"} == {True}
    assert "no random control" not in headline(material)
    assert "choosing layers with the scorer ila" in headline(material)
    assert {"against random", "against rule"} <= cells(material, "ila-30").keys()
    told = list(contrast_lines(material, places_of(material)))
    assert [line.partition(":")[0] for line in told] == [f"ila-30 against {control}" for _, control in contrasts]


def test_a_control_is_called_by_its_kind_whichever_arm_it_belongs_to(good: Material) -> None:
    lead, *others = places_of(good)[0].standings
    other = next(each.arm for each in others if not each.selection.control)
    for role, called in (("random control", "random"), ("rule control", "rule")):
        control = lead.against[role].reference
        moved = changed(good, "comparisons", lambda row, role=role: row.role == role, arm=other)
        for material in (good, moved):
            names = [plain(row[:1]) for row in block(material, Table).rows]
            assert f"{control} ({called})" in names


def test_a_difference_is_in_points_of_the_gain_with_the_ends_of_its_verdict(good: Material) -> None:
    (row,) = [r for r in good.findings[COMPARISONS] if r.role == "random control" and r.task == "heldout/alpaca"]
    (assay,) = [r for r in good.findings[ASSAYS] if r.task == "heldout/alpaca"]
    points = [round(-100 * value / assay.gain) for value in (row.estimate, row.stated_high, row.stated_low)]  # type: ignore[operator]
    shown = cells(good, "ila-30")["against random"].replace("\u2212", "-")
    assert shown.endswith(f"{points[0]:+} ({points[1]} to {points[2]})")


@pytest.mark.parametrize(
    ("table", "update", "words"),
    [
        ("shares", {"shape": "everything", "low": None, "high": None}, "confidence set is unbounded"),
        ("shares", {"shape": "two rays", "low": -0.4, "high": 3.0}, "confidence set is unbounded"),
        ("shares", {"shape": None, "no_interval": "nothing varied"}, "nothing varied"),
        ("shares", {"share": -118.0, "low": -202.0, "high": -82.0}, "worse than the untouched model"),
        ("assays", {"low": 0.02, "margin": 0.02}, "the task cannot tell"),
        ("assays", {"low": -0.1}, "the task cannot tell"),
    ],
)
@pytest.mark.parametrize("verdict", [Verdict.UNDECIDED, Verdict.BETTER_BY_MARGIN])
def test_a_share_that_says_nothing_is_not_stated(
    good: Material, table: str, update: dict[str, object], words: str, verdict: Verdict
) -> None:
    material = changed(changed(good, table, **update), "comparisons", verdict=verdict.value)
    assert words in limits(material) + headline(material) or "so these data cannot tell" in headline(material)
    assert "kept" not in headline(material)
    assert "gain kept" not in cells(material, "ila-30")
    if verdict is Verdict.UNDECIDED:
        assert "data cannot tell what ila-30 keeps" in headline(material)
    else:
        assert headline(material) == "Over 4 seeds, choosing layers with the scorer ila helped."
        assert words in limits(material)


def test_it_says_how_many_comparisons_were_declared_and_the_size_of_their_family(good: Material) -> None:
    rows, claims = good.findings[COMPARISONS], good.findings[CLAIMS]
    declared = [row for row in rows if row.declared]
    (size,) = {row.family_size for row in declared}
    assert size == len(declared) + sum(claim.declared for claim in claims) == 2
    together = "(corrected together with 1 claim, as 2 tests)"
    assert f"Declared before it was measured: ila-30 against all-layers {together}" in limits(good)
    assert "No comparison here was declared beforehand: all are exploratory." in limits(
        changed(good, "comparisons", declared=False)
    )


def searched(material: Material, chosen: dict[str, float], rates: tuple[float, ...]) -> Material:
    """The report of a search in which some rate was best for each arm."""
    rows = tuple(
        TrialRow(
            arm=arm,
            data="alpaca",
            seed=0,
            learning_rate=rate,
            epochs=None,
            steps=4,
            loss=1.0,
            chosen=rate == best,
            error=None,
        )
        for arm, best in chosen.items()
        for rate in rates
    )
    tables = {**material.findings.tables, "trials": rows}
    return replace(material, findings=material.findings.model_copy(update={"tables": tables}))


def test_it_says_whether_every_arm_had_a_learning_rate_of_its_own(good: Material) -> None:
    alone = "The learning rate was not searched."
    assert alone in limits(good)
    assert "learning rate" not in limits(changed(good, "selections", action="graft"))
    told = limits(searched(good, {"ila-30": 2e-3}, (1e-3, 2e-3, 4e-3)))
    assert "is the best of trials at 3 learning rates" in told
    assert alone not in told
    assert alone in limits(searched(good, {"ila-30": 1e-3}, (1e-3,)))  # a search of the length alone


def test_it_names_arms_that_were_best_at_an_end_of_the_rates(good: Material) -> None:
    best = {"all-layers": 1e-3, "ila-30": 4e-3, "ila-30.random": 4e-3, "ila-30.rule": 2e-3}
    told = limits(searched(good, best, (1e-3, 2e-3, 4e-3)))
    high = "The highest rate that was tried, 0.004, was best for ila-30 in 1 of 1 and ila-30.random in 1 of 1 trainings"
    assert f"{high}: a higher one may be better still." in told
    assert "The lowest rate that was tried, 0.001, was best for all-layers in 1 of 1 trainings: a lower one" in told
    assert "ila-30.rule in" not in told


def test_a_margin_that_is_much_of_the_gain_is_called_wide(good: Material) -> None:
    (gain,) = [row.gain for row in good.findings[ASSAYS] if row.task == "heldout/alpaca"]
    for share, wide in ((0.1, False), (0.4, True)):
        text = limits(changed(good, "comparisons", margin=share * gain))
        assert f"{percent(share)} of the gain of all layers" in text
        assert ("That is wide" in text) is wide


def test_a_task_that_cannot_tell_is_named_with_the_data_where_it_cannot(good: Material) -> None:
    (own,) = [row for row in good.findings[ASSAYS] if row.task == "heldout/alpaca"]
    task = own.model_copy(update={"task": "arc", "n": 500, "margin": 0.01, "data": "alpaca"})

    def told(*lows: tuple[str, float]) -> str:
        rows = tuple(task.model_copy(update={"data": data, "low": low}) for data, low in lows)
        tables = {**good.findings.tables, "assays": (own, *rows)}
        return limits(replace(good, findings=good.findings.model_copy(update={"tables": tables})))

    said = "tuning all layers is not shown to improve it by more than the margin."
    assert "No answer" not in told(("alpaca", 0.05))
    assert f"No answer from arc (500 items): {said}" in told(("alpaca", 0.004))
    assert f"No answer from arc (500 items; dolly): {said}" in told(("alpaca", 0.05), ("dolly", 0.004))


def test_the_comparison_in_the_headline_is_called_exploratory_where_it_is(good: Material) -> None:
    told = "the headline's comparison with random ones included"
    assert told in limits(changed(good, "comparisons", lambda row: row.role == "random control", declared=False))
    assert told not in limits(changed(good, "comparisons", lambda row: row.role == "random control", declared=True))


def test_an_arm_that_keeps_more_with_no_more_layers_is_named(good: Material) -> None:
    lead = places_of(good)[0].lead
    assert lead.kept is not None
    (other,) = {row.arm for row in good.findings[SELECTIONS] if not row.control} - {lead.arm}
    assert other not in limits(changed(good, "comparisons", declared=False))
    small = changed(good, "selections", lambda row: row.arm == other, layers=lead.selection.layers)
    for more, said in ((0.1, True), (-0.1, False)):
        share = lead.kept.share + more
        found = limits(changed(small, "shares", lambda row: row.arm == other, share=share, shape="interval"))
        assert (f"{other} keeps more with as many layers or fewer: {percent(share)} (" in found) is said


@pytest.mark.parametrize("verdict", sorted(VERDICTS))
def test_the_caption_explains_the_verdicts_that_the_table_has(good: Material, verdict: Verdict) -> None:
    material = changed(good, "comparisons", verdict=verdict.value)
    caption = block(material, Table).caption
    explained = {
        "beyond margin: ": VERDICTS[verdict].endswith("beyond margin"),
        "within margin: ": VERDICTS[verdict].endswith("within margin"),
        "better or worse alone: ": VERDICTS[verdict] in ("better", "worse"),
        "not better or not worse: ": VERDICTS[verdict] in ("not better", "not worse"),
    }
    assert {words: words in caption.lower() for words in explained} == explained


def test_one_run_speaks_of_checkpoints_and_says_how_to_do_better(tmp_path: Path, good: Material) -> None:
    one = analysed(tmp_path / "run", replace(STUDY, seeds=(0,)))
    assert headline(one).startswith("In one run, ")
    assert "One run per arm and one random draw: this describes these checkpoints" in limits(one)
    assert "4 runs per arm: a statement about the method on this model" in limits(good)
    first = block(one, Steps).items[0]
    assert shlex.split(first.command) == ["layersig", "run", "recipes/synthetic.toml", "seeds=[0,1,2,3,4]"]
    assert "about 5 times the work" in first.why


@pytest.mark.parametrize("typed", ["quickstart", "recipes/synthetic.toml"])
def test_a_study_that_cannot_tell_is_planned_anew_by_the_same_recipe(
    tmp_path: Path, good: Material, typed: str
) -> None:
    run = Path(shutil.copytree(good.run, tmp_path / "run"))
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["argv"] = ["run", typed, "--runs", "x", "seeds=[0,1]"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    material = changed(
        material_of(run), "comparisons", lambda row: row.role == "random control", verdict=Verdict.UNDECIDED.value
    )
    material = changed(material, "results", seeds=5)
    first = block(material, Steps).items[0]
    assert shlex.split(first.command) == ["layersig", "plan", typed, "seeds=[0,1]"]


def test_a_smoke_run_claims_nothing(good: Material) -> None:
    smoke = replace(good, findings=good.findings.model_copy(update={"smoke": True}))
    assert headline(smoke) == "This smoke run shows that everything works; its numbers mean nothing."


def test_several_data_sets_have_a_column_each(tmp_path: Path) -> None:
    material = analysed(tmp_path / "run", replace(STUDY, data=("alpaca", "lima"), seeds=(0, 1)))
    material = changed(
        material,
        "comparisons",
        lambda r: r.role == "random control" and r.data == "lima",
        verdict=Verdict.UNDECIDED.value,
    )
    material = changed(
        material,
        "comparisons",
        lambda r: r.role == "random control" and r.data == "alpaca",
        verdict=Verdict.BETTER_BY_MARGIN.value,
    )
    assert "helped on alpaca and was not shown to help on lima" in headline(material)
    row = cells(material, "ila-30")
    for data in ("alpaca", "lima"):
        (kept,) = [
            r for r in material.findings[SHARES] if (r.arm, r.data, r.task) == ("ila-30", data, f"heldout/{data}")
        ]
        assert row[data].startswith(f"{percent(kept.share)} (")
    assert row["against random"] == "alpaca: better beyond margin; lima: not shown to differ"


def test_what_is_removed_is_judged_by_what_is_left(good: Material) -> None:
    material = changed(good, "selections", action="prune")
    results = {row.arm: row.value for row in good.findings.tables["results"] if row.task == "heldout/alpaca"}  # type: ignore[attr-defined]
    said = headline(material)
    assert "choosing layers to remove with the scorer ila" in said
    assert f"the held-out loss is {results['ila-30']:.2f}" in said
    for verdict, effect in (
        (Verdict.BETTER_BY_MARGIN, "reduced the damage: "),
        (Verdict.WORSE_BY_MARGIN, "added to the damage: "),
        (Verdict.UNDECIDED, "was not shown to reduce the damage: "),
    ):
        judged = changed(material, "comparisons", lambda row: row.role == "random control", verdict=verdict.value)
        assert effect in headline(judged)
    assert f"untouched, {results['base']:.2f}" in said
    assert "gain kept" not in cells(material, "ila-30")
    assert block(material, Steps).items[-1].command.endswith(" ila-30 FOLDER --seed 0")
    assert {row.action for row in material.findings[SELECTIONS]} == {"prune"}
