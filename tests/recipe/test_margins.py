"""Margins by metric: which names a recipe may give, in what unit, and which metrics they then hold for."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from layersig.errors import UserError
from layersig.findings.outcomes import Measure
from layersig.findings.plan import Plan
from layersig.recipe.load import load
from tests.findings.recipes import FEW, recipe_of
from tests.recipe.example import EXAMPLE, write


def loaded(tmp_path: Path, margins: str, tasks: str = '["hellaswag"]', more: str = "") -> None:
    head = EXAMPLE.partition("[evaluate]")[0]
    text = f"{head}[evaluate]\ntasks = {tasks}\n\n[analyze]\nmargins = {margins}\n{more}\n"
    load(write(tmp_path, text), ())


@pytest.mark.parametrize(
    "margins",
    [
        "{ acc = 0.02 }",
        "{ loss = 1.5, acc_norm = 0.5 }",
        '{ "exact_match,strict-match" = 0.05 }',
        '{ "acc,none" = 0.02, f1 = 0.1 }',
        "{ word_perplexity = 3.0, bleu = 2 }",
        "{ judge_score = 1, rouge_l = 0.01 }",
    ],
)
def test_known_metrics_take_margins_under_every_filter(tmp_path: Path, margins: str) -> None:
    loaded(tmp_path, margins)


@pytest.mark.parametrize(
    ("margins", "words"),
    [
        ("{ accuracy = 0.02 }", 'no task of the recipe reports a metric "accuracy"'),
        ("{ acc_nrom = 0.02 }", 'did you mean "acc_norm"?'),
        ('{ "exactmatch,strict-match" = 0.02 }', 'did you mean "exact_match"?'),
        ("{ losses = 0.02 }", 'did you mean "loss"?'),
        ("{ acc = 2 }", "must be below 1; for 2 points write 0.02"),
        ("{ passes = 1.0 }", "for 1 points write 0.01"),
        ('{ "exact_match,flexible-extract" = 5 }', "for 5 points write 0.05"),
        ("{ f1 = 3 }", '"f1" is counted from 0 to 1'),
        ("{ acc = 0 }", "must be greater than 0"),
        ('{ acc = "x" }', "must be a number"),
        ("{ acc = true }", "must be a number"),
    ],
)
def test_unknown_metrics_and_other_units_are_refused(tmp_path: Path, margins: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        loaded(tmp_path, margins)
    assert words in str(caught.value)
    assert "study.toml:" in str(caught.value)
    assert "analyze.margins." in str(caught.value)


@pytest.mark.parametrize("metric", ["em", "prompt_level_strict_acc", "accuracy"])
def test_a_task_of_lm_eval_may_bring_a_metric_of_its_own(tmp_path: Path, metric: str) -> None:
    tasks = {"em": '["drop"]', "prompt_level_strict_acc": '["ifeval"]', "accuracy": '["agieval_aqua_rat", "bbq"]'}
    if metric == "accuracy":
        with pytest.raises(UserError, match="accuracy"):
            loaded(tmp_path, f"{{ {metric} = 0.02 }}", '["ifeval"]')
    else:
        loaded(tmp_path, f"{{ {metric} = 0.02 }}", tasks[metric])


def test_a_task_file_of_the_user_brings_its_metrics(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("task: mine\nmetric_list:\n  - metric: gist  # ours\n    aggregation: mean\n")
    loaded(tmp_path, "{ gist = 0.2 }", '["file:mine.yaml"]')
    with pytest.raises(UserError, match='reports a metric "gits"'):
        loaded(tmp_path, "{ gits = 0.2 }", '["file:mine.yaml"]')
    with pytest.raises(UserError, match='reports a metric "gist"'):
        loaded(tmp_path, "{ gist = 0.2 }", '["file:other.yaml"]')


@pytest.mark.parametrize("name", ["x" * 200_000, "\\u0000", "a/b", ",", " "])
def test_strange_names_are_refused_at_once(tmp_path: Path, name: str) -> None:
    began = time.monotonic()
    with pytest.raises(UserError):
        loaded(tmp_path, f'{{ "{name}" = 0.2 }}')
    assert time.monotonic() - began < 5


def test_a_margin_as_the_criterion_needs_margins(tmp_path: Path) -> None:
    loaded(tmp_path, "{ loss = 0.02 }", more='gain_kept = "margin"')
    loaded(tmp_path, "{}", more="gain_kept = 0.8")
    with pytest.raises(UserError, match="uses the declared margin of each metric"):
        loaded(tmp_path, "{}", more='gain_kept = "margin"')
    with pytest.raises(UserError, match="gain_kept"):
        loaded(tmp_path, "{}", more="gain_kept = 90")


@pytest.mark.parametrize(
    ("margins", "metric", "expected"),
    [
        ({"exact_match": 0.05}, "exact_match,strict-match", 0.05),
        ({"exact_match": 0.05}, "exact_match", 0.05),
        ({"exact_match,strict-match": 0.05}, "exact_match,strict-match", 0.05),
        ({"exact_match,strict-match": 0.05}, "exact_match,flexible-extract", 0.01),
        ({"exact_match,strict-match": 0.05, "exact_match": 0.03}, "exact_match,flexible-extract", 0.03),
        ({"exact_match,strict-match": 0.05, "exact_match": 0.03}, "exact_match,strict-match", 0.05),
        ({}, "acc,none", 0.01),
        ({}, "loss", 0.02),
        ({"acc": 0.05}, "acc_norm", 0.01),
        ({}, "zeta,none", None),
    ],
)
def test_a_margin_holds_for_its_metric_under_every_filter(
    margins: dict[str, float], metric: str, expected: float | None
) -> None:
    plan = Plan(recipe_of(FEW, analyze={"margins": margins}), frozenset())
    assert plan.margin(Measure("t", metric)) == expected


def test_margins_that_nothing_measured_are_named() -> None:
    plan = Plan(recipe_of(FEW, analyze={"margins": {"acc": 0.1, "exact_match": 0.1, "mcc": 0.1}}), frozenset())
    assert plan.idle_margins([Measure("t", "exact_match,strict-match"), Measure("t", "acc")]) == ("mcc",)
