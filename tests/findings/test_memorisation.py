from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from layersig.findings.files import RunFiles
from layersig.findings.tables import Findings
from layersig.topics.analyse import analyse
from layersig.topics.memorisation.compute import memorisation_rows
from layersig.topics.memorisation.rows import MEMORISATION
from layersig.topics.render import render
from layersig.topics.rigor.card import rigor_rows
from layersig.topics.rigor.rows import LIMITATIONS, RigorRow
from tests.report.studies import Study
from tests.report.synthetic import write_run


def lines(task: str, n: int, order: float, loss: float, seed: int = 0, **own: Any) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    plain = rng.normal(-6, 1, n)
    moved = plain - order + rng.normal(0, 0.3, n)
    right = rng.uniform(size=n) < 0.6
    kept = right & ~(rng.uniform(size=n) < loss)
    return [
        {
            "task": task,
            "item": f"{task}-{i}",
            "min_k": plain[i],
            "tokens": 40,
            "min_k_reordered": moved[i],
            "acc": float(right[i]),
            "acc_reordered": float(kept[i]),
            **own,
        }
        for i in range(n)
    ]


def files(run: Path, found: list[dict[str, Any]]) -> RunFiles:
    folder = run / "evaluations" / "base"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memorisation.jsonl").write_text("".join(json.dumps(line) + "\n" for line in found))
    return RunFiles(run)


@pytest.mark.parametrize(
    ("order", "loss", "words"),
    [
        (0.2, 0.0, "the published order of choices is likelier"),
        (0.0, 0.3, "another order costs"),
        (0.0, 0.0, "neither probe shows"),
        (-0.2, 0.0, "neither probe shows"),
    ],
)
def test_what_was_memorised_is_found_and_what_was_not_is_not(
    tmp_path: Path, order: float, loss: float, words: str
) -> None:
    (row,) = memorisation_rows(files(tmp_path, lines("mmlu", 200, order, loss)), 0.05)
    assert words in row.sentence
    assert row.seen == ("neither" not in words)
    assert (row.n, row.reordered) == (200, 200)


def test_figures_are_those_of_paired_differences_corrected_over_tasks_and_probes(tmp_path: Path) -> None:
    one, two = lines("a", 80, 0.05, 0.1), lines("b", 50, 0.0, 0.0, seed=1)
    first, second = memorisation_rows(files(tmp_path, [*one, *two]), 0.05)
    differences = np.array([line["min_k"] - line["min_k_reordered"] for line in one])
    test = stats.ttest_1samp(differences, 0, alternative="greater")
    assert first.order == pytest.approx(differences.mean())
    assert first.order_p == pytest.approx(test.pvalue)
    low, high = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (first.order_low, first.order_high) == pytest.approx((low, high))
    rows = (first, second)
    raw = [p for row in rows for p in (row.order_p, row.loss_p) if p is not None]
    adjusted = [p for row in rows for p in (row.order_adjusted_p, row.loss_adjusted_p) if p is not None]
    assert adjusted == pytest.approx(multipletests(raw, method="holm")[1])
    assert first.loss == pytest.approx(np.mean([line["acc"] - line["acc_reordered"] for line in one]))
    # Nothing varies where no answer changed: there is no test then.
    assert (second.loss, second.loss_p) == (0.0, None)


def test_items_of_a_cluster_count_once(tmp_path: Path) -> None:
    single = lines("a", 40, 0.1, 0.1)
    twins = [{**line, "item": f"{line['item']}-{n}", "cluster": line["item"]} for line in single for n in range(5)]
    (many,) = memorisation_rows(files(tmp_path / "many", twins), 0.05)
    (few,) = memorisation_rows(files(tmp_path / "few", single), 0.05)
    assert (many.n, many.clusters) == (200, 40)
    assert (many.order_low, many.order_p) == pytest.approx((few.order_low, few.order_p))


def test_a_task_without_choices_has_nothing_to_hold_min_k_against(tmp_path: Path) -> None:
    plain = [{key: line[key] for key in ("task", "item", "min_k", "tokens")} for line in lines("gsm8k", 30, 0, 0)]
    (row,) = memorisation_rows(files(tmp_path, plain), 0.05)
    assert (row.reordered, row.order, row.acc, row.order_p) == (0, None, None, None)
    assert "nothing to be held against" in row.sentence
    assert row.min_k_low is not None


def test_card_report_and_threats_say_what_was_found(tmp_path: Path) -> None:
    run = tmp_path / "run"
    recipe = write_run(run, Study(blocks=2, data=("lima",), seeds=(0,), tasks=(("arc_easy", 20),), heldout=4, steps=2))
    recipe = recipe.model_copy(update={"analyze": recipe.analyze.model_copy(update={"resamples": 100})})

    def card(found: Findings) -> RigorRow:
        rows = rigor_rows(found, RunFiles(run), recipe)
        return next(row for row in rows if row.item == "memorisation of benchmarks")

    files(run, lines("arc_easy", 60, 0.5, 0.0))
    findings = analyse(run, recipe)
    assert card(findings).status == "not met"
    assert [row.sentence for row in findings[LIMITATIONS] if row.topic == "memorisation"] == [
        findings[MEMORISATION][0].sentence
    ]
    render(run)
    assert findings[MEMORISATION][0].sentence in (run / "report.md").read_text()
    assert (run / "memorisation.csv").is_file()

    clean = memorisation_rows(files(run, lines("arc_easy", 60, 0.0, 0.0)), 0.05)
    assert card(findings.with_rows({MEMORISATION: clean})).status == "met"
    asked = card(findings.with_rows({MEMORISATION: ()}))
    assert (asked.status, "`evaluate.memorisation = true`" in asked.evidence) == ("asked for", True)
