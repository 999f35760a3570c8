"""The leaderboard repeats what other topics found, joined by scorer, data set, arm and size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from layersig.findings.rows.arms import ASSAYS, COMPARISONS, SHARES
from layersig.findings.tables import Findings
from layersig.report.material import Material
from layersig.report.numbers import percent
from layersig.topics.analyse import analyse, load
from layersig.topics.leaderboard.rows import LEADERBOARD, LeaderRow
from layersig.topics.leaderboard.section import section
from layersig.topics.sanity.rows import SANITY
from layersig.topics.stability.rows import STABILITY
from tests.report.studies import Study
from tests.report.synthetic import write_run

STUDY = Study(
    blocks=3, data=("alpaca",), seeds=(0, 1, 2), tasks=(("arc_easy", 20),), heldout=8, steps=4, extra_scorer=True
)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    run = tmp_path_factory.mktemp("leaderboard")
    analyse(run, write_run(run, STUDY))
    return load(run)


def row_of(found: Findings, arm: str) -> LeaderRow:
    (row,) = [row for row in found[LEADERBOARD] if row.arm == arm]
    return row


def test_every_arm_that_reads_one_scorer_alone_has_a_row(found: Findings) -> None:
    rows = [(row.scorer, row.kind, row.arm, row.data) for row in found[LEADERBOARD]]
    assert rows == [
        ("ila", "ila", "ila-30", "alpaca"),
        ("ila", "ila", "ila-75", "alpaca"),
        ("gradient-norm", "gradient-norm", "gradient-30", "alpaca"),
    ]


def test_figures_are_those_of_their_topics(found: Findings) -> None:
    for arm in ("ila-30", "ila-75", "gradient-30"):
        row = row_of(found, arm)
        assert (row.task, row.metric) == ("heldout/alpaca", "loss")
        (share,) = [s for s in found[SHARES] if (s.arm, s.task, s.metric) == (arm, row.task, row.metric)]
        assert (row.kept, row.kept_low, row.kept_high) == (share.share, share.low, share.high)
        (stable,) = [
            s
            for s in found[STABILITY]
            if (s.scorer, s.quantity, s.k, s.data) == (row.scorer, "within", row.k, "alpaca")
        ]
        assert (row.stability, row.stability_low) == (stable.value, stable.low)
        rules = {s.rule: s.kappa for s in found[SANITY] if (s.scorer, s.k) == (row.scorer, row.k)}
        assert row.rule_kappa == max(value for rule, value in rules.items() if rule != "type x depth")
        assert rules[row.rule or ""] == row.rule_kappa


def test_controls_belong_to_their_arm(found: Findings) -> None:
    compared = {(c.arm, c.role): c for c in found[COMPARISONS] if (c.task, c.metric) == ("heldout/alpaca", "loss")}
    row = row_of(found, "ila-30")
    assert (row.random_sets, row.random_p) == (1, compared["ila-30", "random control"].adjusted_p)
    assert row.random_verdict == compared["ila-30", "random control"].verdict
    assert row.rule_difference == compared["ila-30", "rule control"].estimate
    assert row_of(found, "gradient-30").random_sets == 0
    assert row_of(found, "gradient-30").rule_difference is None


def test_the_section_says_how_many_beat_random_sets(found: Findings) -> None:
    rows = list(found[LEADERBOARD])
    among = rows[0].model_copy(
        update={"random_sets": 19, "random_p": 0.01, "random_verdict": "better", "nonsense": 0.95}
    )
    others = [
        row.model_copy(update={"random_sets": 19, "random_p": 0.4, "random_verdict": "not shown to be better"})
        for row in rows[1:]
    ]
    shown = section(Material(Path(), found.with_rows({LEADERBOARD: [among, *others]}), files=None))  # type: ignore[arg-type]
    words = repr(shown)
    assert "1 of 3 arms are shown to be better than random ones of their counts by type: ila-30." in words
    assert "95 %" in words
    nobody = section(Material(Path(), found.with_rows({LEADERBOARD: others}), files=None))  # type: ignore[arg-type]
    assert "0 of 2 arms are shown" in repr(nobody)


def test_no_share_is_given_of_a_gain_that_all_layers_are_not_shown_to_have(found: Findings) -> None:
    said = repr(section(Material(Path(), found, files=None)))  # type: ignore[arg-type]
    shares = [row for row in found[SHARES] if row.arm == "ila-30" and row.task == "heldout/alpaca"]
    (figure,) = {f"{percent(row.share)} [" for row in shares if row.metric == "loss"}
    assert figure in said
    lost = [row.model_copy(update={"gain": -0.2, "low": -0.3, "high": -0.1}) for row in found[ASSAYS]]
    assert figure not in repr(section(Material(Path(), found.with_rows({ASSAYS: lost}), files=None)))  # type: ignore[arg-type]


def test_one_training_run_and_one_control_say_nothing_of_random_sets(tmp_path: Path) -> None:
    analyse(tmp_path, write_run(tmp_path, replace(STUDY, seeds=(0, 1))))
    row = row_of(load(tmp_path), "ila-30")
    assert (row.random_sets, row.random_p, row.random_verdict) == (1, None, None)


def test_one_scorer_is_no_field(tmp_path: Path) -> None:
    manifest = write_run(tmp_path, replace(STUDY, seeds=(0,)))
    lines = (tmp_path / "scores.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "scores.jsonl").write_text("".join(line for line in lines if '"gradient-norm"' not in line))
    analyse(tmp_path, manifest)
    found = load(tmp_path)
    assert found[LEADERBOARD] == ()
    assert section(Material(tmp_path, found, files=None)) is None  # type: ignore[arg-type]
