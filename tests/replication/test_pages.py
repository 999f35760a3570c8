"""The committed pages of the replication are those that the builder makes of the committed extracts."""

from __future__ import annotations

import re
from statistics import fmean

import pytest

from layersig.topics.registry import all_topics
from tests.planning.heads import head
from tests.replication.answers import Holds, Question
from tests.replication.expectations import EXPECTED
from tests.replication.extracts import COLUMNS, EXTRACTS, Extract, read
from tests.replication.pages import RESULTS, answers, figures, folded, pages
from tests.replication.parts import PARTS, RECIPES
from tests.replication.questions import QUESTIONS
from tests.replication.questions.data import carried, shown_worse
from tests.replication.views import kept, of_outcome, superior

RUN = {part.name: found for part in PARTS if (found := read(part.name)) is not None}


def test_every_page_is_what_the_extracts_give() -> None:
    made = pages(RUN)
    there = {path.name: path.read_text(encoding="utf-8") for path in RESULTS.glob("*.md")}
    assert there == made, "run `python -m tests.replication --pages`"
    assert {path.stem for path in EXTRACTS.glob("*.json")} == set(RUN)


@pytest.mark.slow
def test_every_figure_is_what_the_extracts_give() -> None:
    there = {path.name: path.read_text(encoding="utf-8") for path in (RESULTS / "figures").glob("*.svg")}
    assert there == figures(RUN), "run `python -m tests.replication --pages`"


def test_what_was_not_run_says_so_and_states_no_result() -> None:
    assert {answer.holds for answer in answers({}).values()} == {Holds.NOT_RUN}
    for name, page in pages({}).items():
        assert "not run yet" in page.lower(), name
        assert "[" not in re.sub(r"\[[^\]]+\]\([^)]+\)", "", page.split("## Repeat it")[0]) or name == "README.md"


def test_a_number_on_a_page_follows_its_extract() -> None:
    if "claim-6" not in RUN:
        pytest.skip("claim-6 was not run")
    found = RUN["claim-6"]
    rows = [{**row, "correlation": 0.654321} for row in found.rows("block_correlations")]
    changed = Extract(found.part, found.record, {**found.tables, "block_correlations": rows})
    before, after = (pages({**RUN, "claim-6": each})["cosine-and-fisher.md"] for each in (found, changed))
    assert "0.65 [" not in before
    assert "0.65 [" in after


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
def test_no_table_of_a_page_is_empty(question: Question) -> None:
    if not {*question.parts} <= {*RUN}:
        pytest.skip("not all parts were run")
    assert [table.caption for table in question.answer(RUN).tables if not table.rows] == []


@pytest.mark.parametrize("name", EXPECTED)
def test_a_head_expects_what_was_found(name: str) -> None:
    (part,) = [part for part in PARTS if part.name == name]
    said = head(part.path.read_text(encoding="utf-8")).replace("\n# ", " ").partition("What to expect: ")[2]
    assert said == EXPECTED[name].text
    if name in RUN:
        assert EXPECTED[name].met(RUN[name]), "the head of the recipe expects something else"


def test_every_recipe_of_the_replication_says_what_to_expect() -> None:
    assert set(EXPECTED) == {path.stem for path in (RECIPES / "replication").glob("*.toml")}


def test_extracts_keep_columns_that_tables_have() -> None:
    rows = {table.name: table.row for topic in all_topics()[0] for table in topic.tables}
    for table, columns in COLUMNS.items():
        if table in rows:
            assert set(columns) <= set(rows[table].model_fields), table


def test_questions_and_parts_belong_together() -> None:
    used = {part for question in QUESTIONS for part in (*question.parts, *question.repeats)}
    assert used == {part.name for part in PARTS}
    assert len({question.name for question in QUESTIONS}) == len(QUESTIONS)


def test_the_guide_to_scorers_says_what_was_found() -> None:
    found = RUN["estimators"]
    weights: dict[str, list[float]] = {}
    for row in found.rows("selections"):
        weights.setdefault(row["arm"], []).append(row["share_of_parameters"])
    assert all(0.2 < share < 0.3 for share in weights["gradient-norm-30"])  # about a quarter of the weights
    assert all(share < 0.15 for share in weights["relative-gradient-30"])  # half as many
    compared = of_outcome(found.rows("comparisons"))
    by_gradients = [kept(row) for row in compared if (row["arm"], row["reference"]) == ("ila-30", "gradient-norm-30")]
    assert by_gradients.count(False) == 2  # ILA is shown to be worse on two of three data sets
    assert len(by_gradients) == 3
    declared = [superior(row) for row in compared if row["declared"] and row["role"] != "baseline"]
    assert declared == [True] * 9
    shares = of_outcome(found.rows("shares"))
    best = [
        max((row for row in shares if row["data"] == data), key=lambda row: row["share"])
        for data in found.record["data"]
    ]
    assert [row["arm"] for row in best].count("update-taylor-30") == 2  # keeps most on two of the three

    alone = of_outcome(RUN["tuned-alone"].rows("comparisons", arm="gradient-norm-30", declared=True))
    assert len(alone) == 12
    for reference in ("ila-30", "gradient-norm-30.random"):
        assert [superior(row) for row in alone if row["reference"] == reference].count(True) == 2  # shown on two
    rules = [(row["verdict"], row["margin"]) for row in alone if row["role"] == "rule control"]
    assert sorted(rules) == [("equivalent", 0.01)] * 2 + [("not worse by more than the margin", 0.01)]
    over_random = [-row["estimate"] for row in alone if row["role"] == "random control"]
    assert (round(min(over_random), 3), round(max(over_random), 3)) == (0.012, 0.018)

    (plain,) = of_outcome(RUN["cost"].rows("comparisons", arm="ila-30", reference="sgd-30"))
    assert kept(plain) is None  # plain gradient descent is not shown to keep more


def test_the_readme_says_what_was_found() -> None:
    few = of_outcome(RUN["arms"].rows("comparisons", declared=True))
    assert not any(superior(row) for row in few if row["role"] != "baseline")  # ILA beats no control
    further = of_outcome(RUN["more-arms"].rows("comparisons", declared=True))
    assert {row["arm"] for row in further} == {"ila-75", "ila-10", "first-30", "last-30"}
    assert [kept(row) for row in further] == [False] * 12
    alone = RUN["tuned-alone"]
    kept_by: dict[str, dict[str, float]] = {}
    for row in of_outcome(alone.rows("shares")):
        kept_by.setdefault(row["arm"], {})[row["data"]] = row["share"]
    assert all(share > 0.5 for share in kept_by["ila-30"].values())  # most of the gain
    assert all(kept_by["gradient-norm-30"][data] > share for data, share in kept_by["ila-30"].items())
    for reference in ("ila-30", "gradient-norm-30.random"):
        compared = of_outcome(alone.rows("comparisons", arm="gradient-norm-30", reference=reference, declared=True))
        assert [superior(row) for row in compared].count(True) == 2  # shown on two
    beside_all = of_outcome(alone.rows("comparisons", arm="gradient-norm-30", reference="all-layers", declared=True))
    assert [kept(row) for row in beside_all] == [False] * 3
    weights = [
        fmean(row["share_of_parameters"] for row in alone.rows("selections", arm=arm))
        for arm in ("gradient-norm-30", "ila-30")
    ]
    assert 0.65 < weights[0] / weights[1] < 0.75  # about 70 %
    searched = RUN["own-rates"]
    assert EXPECTED["own-rates"].met(searched)  # rates, and nothing shown of ILA's layers and random ones
    for run, arm, ends in (
        (alone, "gradient-norm-30", (83, 88)),
        (alone, "ila-30", (57, 72)),
        (searched, "ila-30", (93, 98)),
        (searched, "gradient-norm-30", (94, 100)),
        (searched, "ila-30.random", (96, 98)),
        (RUN["arms"], "ila-30", (58, 87)),
        (RUN["more-arms"], "first-30", (51, 84)),
        (RUN["more-arms"], "last-30", (23, 32)),
    ):
        shares = [round(100 * row["share"]) for row in of_outcome(run.rows("shares", arm=arm))]
        assert (min(shares), max(shares)) == ends
    tenth = RUN["a-tenth"]
    assert EXPECTED["a-tenth"].met(tenth)
    shares = {row["arm"]: round(100 * row["share"]) for row in of_outcome(tenth.rows("shares"))}
    arms = ("ila-10", "gradient-norm-10", "ila-10.random", "gradient-norm-10.random")
    assert [shares[arm] for arm in arms] == [80, 82, 82, 82]
    weights = {row["arm"]: round(100 * row["share_of_parameters"]) for row in tenth.rows("selections")}
    assert weights["gradient-norm-10"] == 6
    told = {(row["arm"], row["reference"]): row["verdict"] for row in of_outcome(tenth.rows("comparisons"))}
    assert told["gradient-norm-10", "gradient-norm-10.random"] == "equivalent"
    assert told["ila-10", "ila-10.random"] == "undecided"
    as_good = [row["conclusion"].startswith("as good") for row in searched.rows("claims", declared=True)]
    assert sorted(as_good) == [False, True, True]
    declared = of_outcome(searched.rows("comparisons", declared=True))
    assert not any(superior(row) for row in declared if row["reference"] == "ila-30.random")
    rivals = [row for row in declared if (row["arm"], row["reference"]) == ("gradient-norm-30", "ila-30")]
    assert [superior(row) or kept(row) is False for row in rivals] == [False] * 3  # neither is shown to be better
    assert EXPECTED["kinds"].met(RUN["kinds"])  # about half as well
    matrix = [shown_worse(row) for row in carried(RUN["kinds"])]
    assert (matrix.count(True), len(matrix)) == (0, 12)
    grafts = of_outcome(RUN["kinds"].rows("comparisons", arm="of-chat", role="random control"))
    assert [superior(row) is True for row in grafts] == [False] * 6
    cheap = of_outcome(RUN["cost"].rows("comparisons"))
    controlled = [row for row in cheap if row["role"] in ("random control", "rule control")]
    for arm, shown in (("sgd-30", True), ("path-30", True), ("gradient-norm-30", True), ("ila-30", False)):
        assert [superior(row) is True for row in controlled if row["arm"] == arm] == [shown] * 2
    pruned = RUN["pruning"]
    assert EXPECTED["pruning"].met(pruned)  # ARC-Easy cannot tell
    for task, lost in (("arithmetic_answer", 5), ("arithmetic_written", 6)):
        against = [row for row in pruned.rows("comparisons", task=task, reference="base") if "." not in row["arm"]]
        assert [kept(row) is False for row in against if not row["arm"].startswith("reverse")].count(True) == lost
    gaps = pruned.rows("retention_gaps", kind="same items")
    by_model = [row for row in gaps if row["arm"].startswith(("bi-", "greedy-")) and "." not in row["arm"]]
    assert ([row["low"] > 0 for row in by_model].count(True), len(by_model)) == (1, 6)  # written answers keep less
    written = {row["arm"]: row["retention"] for row in pruned.rows("retention", task="arithmetic_written")}
    assert EXPECTED["recovery"].met(RUN["recovery"])
    assert (round(100 * written["reverse-3"]), round(100 * written["bi-3"])) == (68, 10)


def test_warnings_that_differ_in_numbers_alone_are_told_once() -> None:
    cut = [f"{number} of 600 conversations were cut at 80 tokens." for number in (378, 315, 599)]
    assert list(folded([*cut, "something"])) == [f"{cut[0]} (2 more of the kind)", "something"]
