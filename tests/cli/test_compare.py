"""`layersig compare`: what it computes, and what it refuses."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t
from statsmodels.stats.multitest import multipletests

from layersig.findings.compare import Side, declared_sentences
from layersig.findings.rows.arms import ComparisonRow
from layersig.jsonform import dumps
from layersig.recipe.resolve import to_toml
from layersig.store.runfolder import RunFolder
from tests.cli.comparing import comparisons
from tests.findings.recipes import FEW, recipe_of
from tests.manifests import manifest, source
from tests.study import call

RESULTS = {
    "tasks": {"choice": {"prompts": "p" * 64, "acc": 0.5, "n": 8}, "heldout/chats": {"loss": 0.5, "n": 8}},
    "lm_eval": "0.4.13",
    "dtype": "float32",
    "device": "cpu",
    "batch": {"tokens": 8192},
}


def write_run(
    runs: Path,
    name: str,
    values: dict[str, list[float]],
    subjects: tuple[str | None, ...] = (None,) * 8,
    **changes: object,
) -> None:
    folder = RunFolder(runs / name / "0123456789ab")
    model = source("model", "model", digest=changes.get("digest", "d" * 64), resolved="path:m")
    folder.save_manifest(manifest(name=name, sources=[model]))
    report = folder.path / "data" / "chats.json"
    report.parent.mkdir(parents=True)
    report.write_text(json.dumps({"template_sha256": "t" * 64, "max_tokens": 64, **changes}))
    for arm, outcomes in values.items():
        place = folder.path / "evaluations" / arm / ("" if arm == "base" else "chats/seed-0")
        place.mkdir(parents=True)
        lines = [
            dumps(
                {
                    "task": "choice",
                    "item": f"{changes.get('item', 'i')}{number}",
                    "metric": "loss",
                    "value": value,
                    "cluster": subject,
                }
            )
            for number, (value, subject) in enumerate(zip(outcomes, subjects, strict=True))
        ]
        (place / "items.jsonl").write_text("\n".join(lines) + "\n")
        results = {**RESULTS, **{key: value for key, value in changes.items() if key in RESULTS}}
        (place / "results.json").write_text(json.dumps(results))


FIRST = [0.1, 0.9, 0.4, 0.6, 0.2, 0.3, 0.8, 0.5]
SECOND = [0.0, 0.7, 0.5, 0.5, 0.1, 0.3, 0.6, 0.2]


@pytest.fixture
def runs(tmp_path):
    write_run(tmp_path, "one", {"base": FIRST, "all-layers": FIRST, "ila-30": SECOND})
    write_run(tmp_path, "two", {"base": FIRST, "all-layers": SECOND})
    return tmp_path


def test_it_pairs_items_across_runs(capsys, runs):
    code, out, _ = call(capsys, "compare", "one:ila-30", "two:base", "--runs", runs, "--json")
    (row,) = json.loads(out.splitlines()[-1])["comparisons"]
    differences = [first - second for first, second in zip(FIRST, SECOND, strict=True)]
    mean = sum(differences) / 8
    se = (sum((each - mean) ** 2 for each in differences) / 56) ** 0.5
    assert code == 0
    assert row["difference"] == pytest.approx(mean)
    assert row["high"] - row["difference"] == pytest.approx(t.ppf(0.975, 7) * se)
    assert (row["n"], row["scope"], row["declared"]) == (8, "checkpoints", False)


def test_an_arm_that_has_nothing_in_common_is_refused_wherever_it_stands(capsys, runs):
    other = runs / "three" / "0123456789ab"
    write_run(runs, "three", {"base": FIRST, "all-layers": FIRST})
    (other / "evaluations/all-layers/chats/seed-0").rename(other / "evaluations/all-layers/chats/seed-1")
    for names in (("one", "two", "three"), ("one", "three", "two")):
        code, _, err = call(capsys, "compare", *(f"{name}:all-layers" for name in names), "--runs", runs)
        assert (code, "no task, or no seed, in common" in err) == (2, True), err


def test_p_values_are_corrected_over_all_that_is_shown(capsys, runs):
    _, out, _ = call(capsys, "compare", "one:ila-30", "one:base", "two", "--runs", runs, "--json")
    rows = json.loads(out.splitlines()[-1])["comparisons"]
    assert len(rows) == 3
    alike, *tested = sorted(rows, key=lambda row: row["p"] is not None)
    assert (alike["difference"], alike["p"], alike["adjusted_p"], alike["sentence"]) == (0, None, None, None)
    expected = multipletests([1.0, *(row["p"] for row in tested)], method="holm")[1].tolist()
    assert [row["adjusted_p"] for row in tested] == pytest.approx(expected[1:])
    assert all(row["sentence"].startswith("Exploratory: ") for row in tested)
    assert all("corrected for 3 exploratory tests" in row["sentence"] for row in tested)
    _, out, _ = call(capsys, "compare", "one:ila-30", "one:base", "two", "--runs", runs)
    assert (out.count("corrected for 3 tests"), out.count("exploratory")) == (1, 1)
    table = [line for line in out.splitlines() if "ila-30" in line or "base" in line]
    assert any(line.split()[0].endswith("base") for line in table), out


def test_a_run_alone_compares_its_arms_with_all_layers(capsys, runs):
    _, out, _ = call(capsys, "compare", "one", "--runs", runs, "--json")
    rows = json.loads(out.splitlines()[-1])["comparisons"]
    assert {row["arm"] for row in rows} == {"one/0123456789ab:base", "one/0123456789ab:ila-30@chats"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"digest": "e" * 64}, "base model"),
        ({"dtype": "bfloat16"}, "precision: float32 and bfloat16"),
        ({"batch": {"tokens": 1}}, "batch policy"),
        ({"batch": {"tokens": 8192, "max_length": 64}}, "batch policy of choice"),
        ({"tasks": {"choice": {"prompts": "q" * 64}}}, "prompts of choice"),
        ({"template_sha256": "u" * 64}, "chat template of heldout/chats"),
        ({"max_tokens": 32}, "max_tokens of heldout/chats: 64 and 32"),
        ({"item": "j"}, "other items"),
    ],
)
def test_what_was_not_measured_alike_is_refused(capsys, runs, change, words):
    shutil.rmtree(runs / "two")
    write_run(runs, "two", {"all-layers": SECOND}, **change)
    code, out, err = call(capsys, "compare", "one", "two", "--runs", runs)
    assert code == 2
    assert out == ""
    assert words in err
    assert err.count("error:") == 1


def test_a_run_without_tasks_is_compared_in_what_both_measured(capsys, runs):
    shutil.rmtree(runs / "two")
    with_tasks = {"tokens": 8192, "shared_prefixes": True, "max_length": 64}
    write_run(runs, "two", {"all-layers": SECOND}, batch=with_tasks)
    shutil.rmtree(runs / "one")
    write_run(runs, "one", {"all-layers": FIRST}, tasks={"heldout/chats": {"loss": 0.5, "n": 8}})
    code, out, err = call(capsys, "compare", "one", "two", "--runs", runs, "--json")
    assert (code, err) == (0, "")
    assert len(json.loads(out.splitlines()[-1])["comparisons"]) == 1


def pooled(runs: Path, name: str, values: dict[str, list[float]], parts: str = "fixed") -> None:
    """A run on a task of two subjects, whose recipe takes them for all there are or for a sample."""
    task = {"prompts": "p" * 64, "loss": 0.5, "n": 8, "strata": {"a": {"n": 4}, "b": {"n": 4}}}
    write_run(runs, name, values, ("a",) * 4 + ("b",) * 4, tasks={"choice": task})
    resolved = runs / name / "0123456789ab" / "resolved.toml"
    resolved.write_text(to_toml(recipe_of(FEW, analyze={"parts": parts})), encoding="utf-8")


@pytest.mark.parametrize("parts", ["fixed", "sampled"])
def test_parts_of_a_pooled_task_are_what_both_recipes_say_they_are(capsys, tmp_path, parts):
    pooled(tmp_path, "one", {"base": FIRST, "ila-30": SECOND}, parts)
    pooled(tmp_path, "two", {"base": FIRST}, parts)
    (row,), _ = comparisons(capsys, "two:base", "one:ila-30", "--runs", tmp_path)
    assert (row["strata"], row["clusters"]) == ((2, None) if parts == "fixed" else (None, 2))
    differences = np.array(SECOND) - np.array(FIRST)
    subjects = differences.reshape(2, 4)
    if parts == "fixed":  # what the subjects differ is no error
        se, df = (sum(4 * each.var(ddof=1) for each in subjects) / 64) ** 0.5, 7
    else:
        se, df = subjects.mean(axis=1).std(ddof=1) / 2**0.5, 1
    assert row["difference"] == pytest.approx(differences.mean())
    assert row["high"] - row["difference"] == pytest.approx(t.ppf(0.975, df) * se)


def test_runs_that_take_parts_for_different_things_are_not_compared(capsys, tmp_path):
    pooled(tmp_path, "one", {"base": FIRST})
    pooled(tmp_path, "two", {"base": SECOND}, "sampled")
    code, _, err = call(capsys, "compare", "one:base", "two:base", "--runs", tmp_path)
    assert code == 2
    assert "they differ in `analyze.parts` of choice: fixed and sampled" in err


def test_sameness_counts_the_parts_of_a_pooled_task_as_the_run_does(capsys, tmp_path):
    gained = [0.9, 0.91, 0.89, 0.9, 0.1, 0.11, 0.09, 0.1]  # one subject gains little, the other much
    alike = [value + 0.001 * (-1) ** place for place, value in enumerate(gained)]
    pooled(tmp_path, "one", {"base": [1.0] * 8, "all-layers": gained, "ila-30": alike})
    (row,), _ = comparisons(capsys, "one:all-layers", "one:ila-30", "--margin", "loss=0.3", "--runs", tmp_path)
    assert row["verdict"] == "equivalent"


def test_an_arm_that_is_not_there_is_named_with_those_that_are(capsys, runs):
    code, _, err = call(capsys, "compare", "one:ila-31", "--runs", runs)
    assert code == 2
    assert "ila-31" in err
    assert "ila-30" in err


def test_verdicts_follow_the_margin_and_stand_in_a_report_of_their_own(capsys, runs):
    _, out, _ = call(capsys, "compare", "one:base", "one:ila-30", "--runs", runs, "--json", "--margin", "loss=0.5")
    found = json.loads(out.splitlines()[-1])
    (row,) = found["comparisons"]
    assert (row["margin"], row["verdict"]) == (0.5, "equivalent")
    assert row["sentence"].startswith("Exploratory: one/0123456789ab:ila-30@chats and one/0123456789ab:base are equi")
    page = Path(found["report"])
    assert page.parent.parent == runs / "comparisons"
    assert row["verdict"] in page.read_text(encoding="utf-8")
    told = (page.parent / "report.md").read_text(encoding="utf-8")
    assert "layersig compare one:base one:ila-30 --alpha=0.05 --margin=loss=0.5" in told
    (line,) = csv.DictReader((page.parent / "comparisons.csv").read_text(encoding="utf-8").splitlines())
    assert float(line["estimate"]) == row["difference"]
    assert call(capsys, "runs", "--runs", runs)[0] == 0  # the folder of comparisons is no run


def test_sameness_needs_a_task_that_all_layers_move(capsys, runs):
    wide = ("--margin", "loss=0.3", "--json", "--runs", runs)
    _, out, _ = call(capsys, "compare", "one:all-layers", "one:ila-30", *wide)
    (row,) = json.loads(out.splitlines()[-1])["comparisons"]
    assert not row["verdict"].startswith(("equivalent", "not worse"))  # the two others do not differ at all


@pytest.mark.parametrize("margin", ["loss", "loss=", "=0.1", "loss=-1", "acc=2", "loss=nan", "loss=x"])
def test_a_margin_that_is_none_is_refused(capsys, runs, margin):
    code, _, err = call(capsys, "compare", "one", "--runs", runs, "--margin", margin)
    assert code == 2
    assert "METRIC=VALUE" in err


@pytest.mark.parametrize("margin", ["lss=0.1", "acc=0.1", "loss,none=0.1"])
def test_a_margin_of_a_metric_that_was_not_measured_is_refused(capsys, runs, margin):
    code, out, err = call(capsys, "compare", "one", "--runs", runs, "--margin", "loss=0.5", "--margin", margin)
    assert (code, out) == (2, "")
    assert f'nothing is compared in "{margin.removesuffix("=0.1")}"; the metrics are: loss' in err
    assert not (runs / "comparisons").exists()


def two_data_sets(runs: Path, name: str) -> Path:
    """A run whose arms were trained on two data sets."""
    write_run(runs, name, {"base": FIRST, "all-layers": SECOND, "few": FIRST[::-1]})
    folder = runs / name / "0123456789ab"
    for arm in ("all-layers", "few"):
        shutil.copytree(folder / "evaluations" / arm / "chats", folder / "evaluations" / arm / "mails")
    (folder / "data" / "mails.json").write_text((folder / "data" / "chats.json").read_text())
    return folder


def test_arms_of_two_data_sets_are_said_to_be_of_both(capsys, tmp_path):
    two_data_sets(tmp_path, "two")
    sides = [f"two:{side}" for side in ("few@chats", "few@mails", "all-layers@mails", "base")]
    (same, other, base), _ = comparisons(capsys, *sides, "--runs", tmp_path)
    assert same["sentence"] is None  # the same answers
    assert "on these two data sets (mails, chats)" in other["sentence"]
    assert base["data"] == "chats"
    assert "on the data set chats with" in base["sentence"]


def test_runs_without_a_partner_are_named(capsys, tmp_path):
    for name in ("one", "more"):
        write_run(tmp_path, name, {"base": FIRST, "all-layers": SECOND, "few": FIRST[::-1]})
    arm = tmp_path / "more" / "0123456789ab" / "evaluations" / "few" / "chats"
    shutil.copytree(arm / "seed-0", arm / "seed-7")
    _, err = comparisons(capsys, "one:few", "more:few", "more:base", "--runs", tmp_path)
    told = "more/0123456789ab:few@chats: runs whose seed one/0123456789ab:few@chats lacks are left out: 7"
    assert told in err
    assert "base" not in err


@pytest.mark.parametrize(("other", "repeated"), [("mails", []), ("chats", ["concludes in its own report: chats"])])
def test_a_declared_conclusion_is_repeated_of_the_same_data_set_alone(tmp_path, monkeypatch, other, repeated):
    folder = RunFolder(two_data_sets(tmp_path, "two"))
    (folder.path / "analysis.json").write_text("{}")
    rows = [
        ComparisonRow.model_construct(arm="few", reference="all-layers", data=data, declared=True, sentence=data)
        for data in ("chats", "mails")
    ]
    monkeypatch.setattr("layersig.findings.compare.load", lambda path, tables: {tables[0]: rows})
    found = declared_sentences(Side(folder, "all-layers", "chats"), [Side(folder, "few", other)])
    assert [sentence.partition(", and ")[2] for sentence in found] == repeated


@pytest.mark.parametrize(("action", "said"), [("prune", "equivalent"), ("tune", "undecided")])
def test_all_layers_are_not_asked_of_pruned_arms_where_they_were_not_trained(capsys, tmp_path, action, said):
    values = {"ila-30": [value + 0.001 * (-1) ** place for place, value in enumerate(FIRST)], "ila-10": FIRST}
    write_run(tmp_path, "one", values)
    recipe = recipe_of(*({**FEW, "name": arm, "action": action} for arm in values))
    (tmp_path / "one" / "0123456789ab" / "resolved.toml").write_text(to_toml(recipe))
    (row,), _ = comparisons(capsys, "one:ila-10", "one:ila-30", "--margin", "loss=0.3", "--runs", tmp_path)
    assert row["verdict"].startswith(said)
