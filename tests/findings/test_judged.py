"""Grades and pairs of a judge, summed up and compared with independent sums."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layersig.findings.rows.arms import COMPARISONS, RESULTS
from layersig.findings.tables import Findings
from layersig.jsonform import jsonl
from layersig.judging.records import AnswerRecord, Judgement, Key, Order
from layersig.recipe.schema import Recipe
from layersig.records import Outcome
from layersig.store.runfolder import RunFolder
from layersig.topics.analyse import analyse
from layersig.topics.judge.rows import JUDGE_NOISE, JUDGE_PAIRS, JUDGE_POSITIONS, JUDGED
from layersig.topics.rigor.rows import RIGOR
from tests.manifests import manifest, source

SEEDS, REPEATS, QUESTIONS = (0, 1, 2), 3, 12
ARMS = ("all-layers", "ila-30")
RECIPE: dict[str, Any] = {
    "name": "judged",
    "seeds": list(SEEDS),
    "model": {"source": "path:model"},
    "data": [{"name": "chats", "source": "file:chats.jsonl"}],
    "scorers": {"ila": {"kind": "ila"}},
    "arms": [{"name": "ila-30", "scorer": "ila", "select": {"kind": "top", "fraction": 0.3}}],
    "evaluate": {"conversations": ["file:talk.jsonl"], "heldout": False},
    "judge": {"endpoint": "http://localhost:1/v1", "model": "judge", "repeats": REPEATS},
    "analyze": {"outcome": "talk", "margins": {"judge_score": 0.5}},
}


def turns(question: int) -> range:
    """Two turns of most questions, one of the last two."""
    return range(1, 3 if question < QUESTIONS - 2 else 2)


def answered(question: int) -> AnswerRecord:
    n = len(turns(question))
    ends = ("length",) * n if question == 0 else ("stop",) * n
    return AnswerRecord("talk", str(question), "ab"[question % 2], ("?",) * n, ("!",) * n, ends, (1,) * n, None)


def folder(run: Path, kind: str, arm: str, seed: int | None) -> Path:
    path = run / kind / arm if seed is None else run / kind / arm / "chats" / f"seed-{seed}"
    path.mkdir(parents=True)
    return path


def keys(orders: tuple[Order, ...]) -> Iterator[Key]:
    for question in range(QUESTIONS):
        for turn in turns(question):
            for repeat in range(REPEATS):
                yield from (Key("talk", str(question), turn, repeat, order) for order in orders)


def write_judgements(path: Path, found: list[Judgement]) -> None:
    (path / "judgements.jsonl").write_text(jsonl([each.to_json() for each in found]))
    results = {
        "judge": {
            "endpoint": "http://localhost:1/v1",
            "model": "judge",
            "temperature": 0.0,
            "max_tokens": 9,
            "repeats": REPEATS,
            "attempts": 3,
        },
        "models": ["judge-1"],
        "first": "2026-01-01T00:00:00+00:00",
        "last": "2026-01-02T00:00:00+00:00",
        "verdicts": len(found),
        "asked_again": 1,
        "invalid": sum(each.verdict is None for each in found),
        "refused": 0,
        "questions": {"talk": "x"},
    }
    (path / "results.json").write_text(json.dumps(results))


class Told:
    """What was written, as arrays by arm: grades (seeds, turns, repeats)."""

    def __init__(self, run: Path) -> None:
        rng = np.random.default_rng(3)
        self.items = [(question, turn) for question in range(QUESTIONS) for turn in turns(question)]
        self.grades: dict[str, np.ndarray] = {}
        self.pairs: list[dict[tuple[int, int, int], tuple[str, str]]] = []
        hard = 2 * rng.normal(size=QUESTIONS)[[question for question, _ in self.items], None]
        for arm in ("base", *ARMS):
            seeds: tuple[int | None, ...] = (None,) if arm == "base" else SEEDS
            luck = rng.normal(5.5, 1.0, size=(len(seeds), 1, 1)) + rng.normal(
                size=(len(seeds), len(self.items), REPEATS)
            )
            grades = np.clip(np.round(luck + hard), 1, 10)
            self.grades[arm] = grades
            for place, seed in enumerate(seeds):
                path = folder(run, "conversations", arm, seed)
                rows = [answered(question) for question in range(QUESTIONS)]
                (path / "answers.jsonl").write_text(jsonl([row.to_json() for row in rows]))
                path = folder(run, "judgements", arm, seed)
                found, outcomes = [], []
                for number, (question, turn) in enumerate(self.items):
                    verdicts: list[float | None] = [float(grade) for grade in grades[place, number]]
                    if arm == "ila-30" and seed == 1 and number == 4:
                        verdicts = [None] * REPEATS
                    for repeat, verdict in enumerate(verdicts):
                        key = Key("talk", str(question), turn, repeat, "alone")
                        found.append(Judgement(key, "ab"[question % 2], verdict, [], ("x",)))
                    if verdicts[0] is not None:
                        value = float(grades[place, number].mean())
                        several = len(turns(question)) > 1
                        item = f"{question}/turn-{turn}" if several else str(question)
                        cluster = str(question) if several else None
                        outcomes.append(Outcome("talk", item, "judge_score", value, cluster=cluster).to_json())
                write_judgements(path, found)
                (path / "items.jsonl").write_text(jsonl(outcomes))
        for seed in SEEDS:
            verdicts_of = {
                (int(key.question), key.turn, key.repeat): tuple(rng.choice(["first", "first", "second", "tie"], 2))
                for key in keys(("alone",))
            }
            self.pairs.append(verdicts_of)
            found = []
            for key in keys(("arm-first", "arm-second")):
                both = verdicts_of[int(key.question), key.turn, key.repeat]
                verdict: str | None = str(both[key.order == "arm-second"])
                if seed == 2 and key.question == "3" and key.order == "arm-second" and key.turn == 1:
                    verdict = None
                found.append(Judgement(key, "ab"[int(key.question) % 2], verdict, [], ("x",)))
            write_judgements(folder(run, "pairs", "ila-30", seed), found)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Told, Findings]:
    run = tmp_path_factory.mktemp("judged")
    cells = [{"arm": "base"}, *({"arm": arm, "data": "chats", "seed": seed} for arm in ARMS for seed in SEEDS)]
    stages = [
        {"id": f"{kind}/{number}", "kind": kind, "cell": cell, "status": "done", "declared": number != 2}
        for kind in ("evaluate", "grade")
        for number, cell in enumerate(cells)
    ]
    RunFolder(run).save_manifest(manifest(name="judged", sources=[source("data", "chats")], stages=stages))
    written = Told(run)
    return written, analyse(run, Recipe.model_validate_json(json.dumps(RECIPE)))


def kept(told: Told) -> list[int]:
    """All turns but the one that an arm has no grade for in some seed."""
    return [number for number in range(len(told.items)) if number != 4]


def test_a_grade_is_the_mean_over_repeats_with_its_error_over_questions_and_seeds(told: tuple[Told, Findings]) -> None:
    written, findings = told
    rows = {(row.arm, row.by, row.group): row for row in findings[JUDGED]}
    values = written.grades["ila-30"].mean(axis=2)[:, kept(written)]
    questions = np.array([written.items[number][0] for number in kept(written)])
    row = rows["ila-30", "all", "all"]
    assert row.value == pytest.approx(values.mean())
    assert (row.n, row.questions, row.seeds, row.scope) == (len(written.items) - 1, QUESTIONS, 3, "method")
    # The two-way mean squares of seeds x question totals, written out.
    deviations = values - values.mean(axis=1, keepdims=True)
    units = np.stack(
        [
            each.mean() + np.array([line[questions == q].sum() for q in range(QUESTIONS)]) * QUESTIONS / len(questions)
            for each, line in zip(values, deviations, strict=True)
        ]
    )
    s, n = units.shape
    seed_means, item_means, grand = units.mean(axis=1), units.mean(axis=0), units.mean()
    ms_seed = n * ((seed_means - grand) ** 2).sum() / (s - 1)
    ms_item = s * ((item_means - grand) ** 2).sum() / (n - 1)
    residual = units - seed_means[:, None] - item_means[None] + grand
    ms_residual = (residual**2).sum() / ((s - 1) * (n - 1))
    assert row.se is not None
    assert row.se**2 == pytest.approx((ms_seed + ms_item - ms_residual) / (s * n))
    mask = np.array([written.items[number][0] % 2 == 1 for number in kept(written)])
    assert rows["ila-30", "category", "b"].value == pytest.approx(values[:, mask].mean())
    assert rows["base", "turn", "2"].n == sum(written.items[number][1] == 2 for number in kept(written))
    assert rows["base", "all", "all"].cut == pytest.approx(2 / (len(written.items) - 1))


def test_a_turn_without_a_grade_is_left_out_everywhere_and_told(told: tuple[Told, Findings]) -> None:
    written, findings = told
    assert {row.n for row in findings[RESULTS]} == {len(written.items) - 1}
    assert "talk: 1 turns have no valid grade in some arm or seed, and are left out of all of them." in findings.notes


def test_the_noise_of_repeats_is_their_pooled_variance(told: tuple[Told, Findings]) -> None:
    written, findings = told
    (row,) = [row for row in findings[JUDGE_NOISE] if row.arm == "all-layers"]
    grades = written.grades["all-layers"]
    variance = grades.var(axis=2, ddof=1).mean()
    assert row.repeat_sd == pytest.approx(variance**0.5)
    assert row.se_repeats == pytest.approx((variance / grades.size) ** 0.5)
    assert row.agree == pytest.approx((np.ptp(grades, axis=2) == 0).mean())
    assert row.repeats == REPEATS


def test_pairs_are_won_in_both_orders_or_tied(told: tuple[Told, Findings]) -> None:
    written, findings = told
    rows = {(row.by, row.group): row for row in findings[JUDGE_PAIRS]}
    row = rows["all", "all"]
    points = {"arm-first": {"first": 1.0, "second": 0.0, "tie": 0.5}, "arm-second": {"first": 0.0, "second": 1.0}}
    points["arm-second"]["tie"] = 0.5
    values, wins, losses = [], [], []
    for pairs in written.pairs:
        for (question, turn, _), (first, second) in pairs.items():
            if (question, turn) == (3, 1):
                continue
            both = (points["arm-first"][first], points["arm-second"][second])
            values.append(np.mean(both))
            wins.append(both == (1, 1))
            losses.append(both == (0, 0))
    assert row.value == pytest.approx(np.mean(values))
    assert (row.win, row.loss) == pytest.approx((np.mean(wins), np.mean(losses)))
    assert row.win + row.tie + row.loss == pytest.approx(1)
    assert (row.n, row.unrated, row.seeds, row.reference) == (len(written.items) - 1, 1, 3, "all-layers")
    assert row.low is not None
    assert row.high is not None
    assert row.p is not None
    assert (row.p < 0.05) == (not row.low <= 0.5 <= row.high)


def test_the_bias_of_position_is_the_share_of_the_first(told: tuple[Told, Findings]) -> None:
    written, findings = told
    (row,) = [row for row in findings[JUDGE_POSITIONS] if row.arm is None]
    every = [
        both
        for seed, pairs in enumerate(written.pairs)
        for (question, turn, _), both in pairs.items()
        if not (seed == 2 and (question, turn) == (3, 1))
    ]
    decided = [verdict for both in every for verdict in both if verdict != "tie"]
    assert row.decided == len(decided)
    assert row.first == pytest.approx(decided.count("first") / len(decided))
    assert row.flips == pytest.approx(np.mean([one == two != "tie" for one, two in every]))
    assert row.low is not None
    assert row.low > 0.5, "two verdicts in three that are no tie go to the first"


def test_a_comparison_is_declared_only_if_its_grades_were(told: tuple[Told, Findings]) -> None:
    _, findings = told
    (row,) = [row for row in findings[COMPARISONS] if (row.arm, row.role) == ("ila-30", "baseline")]
    assert row.outcome
    assert not row.declared, "one of the stages came before the declaration"
    assert row.sentence is not None
    assert "0.5 grade points" in row.sentence


def test_the_rigor_card_reads_the_records(told: tuple[Told, Findings]) -> None:
    _, findings = told
    (row,) = [row for row in findings[RIGOR] if row.item == "judge"]
    assert row.status == "met"
    assert "judge, by its endpoint judge-1" in row.evidence
    assert "6 invalid" in row.evidence
    assert f"{REPEATS} repeats; pairs in both orders" in row.evidence
