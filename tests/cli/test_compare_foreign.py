"""`layersig compare` on results that layersig did not write: logs of lm-eval, as lm-eval writes them, and tables."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_rel
from statsmodels.stats.multitest import multipletests

from tests.study import call

CHOICE = """\
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/{name}.jsonl}}}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_target: answer
doc_to_choice: choices
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""
ROLLING = """\
task: texts
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/texts.jsonl}}}}
output_type: loglikelihood_rolling
test_split: test
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
metric_list: [{{metric: word_perplexity}}, {{metric: byte_perplexity}}]
"""
GROUP = """\
group: both
task: [one, two]
aggregate_metric_list: [{metric: acc, aggregation: mean, weight_by_size: true}]
"""
SIZES = {"one": 30, "two": 18}


@pytest.fixture(scope="module")
def logs(tmp_path_factory) -> Path:
    """Folders that lm-eval filled: `base`, and a tuned model with two seeds below one folder."""
    import lm_eval
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.models.dummy import DummyLM
    from lm_eval.tasks import TaskManager

    folder = tmp_path_factory.mktemp("harness")
    for name, size in SIZES.items():
        rows = [
            {"question": f"{name} {number}?", "choices": ["a", "bb", "ccc"], "answer": number % 3}
            for number in range(size)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        (folder / f"{name}.yaml").write_text(CHOICE.format(name=name, folder=folder))
    (folder / "texts.jsonl").write_text("\n".join(json.dumps({"text": "word " * (3 + each)}) for each in range(9)))
    (folder / "texts.yaml").write_text(ROLLING.format(folder=folder))
    (folder / "both.yaml").write_text(GROUP)
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    for seed, place in enumerate(("base", "tuned/seed-1", "tuned/seed-2")):
        random.seed(seed)
        tasks = manager.load(["both", "texts"])
        found = lm_eval.evaluate(lm=DummyLM(), task_dict=tasks, log_samples=True, bootstrap_iters=0)
        samples = found.pop("samples")
        tracker = EvaluationTracker(output_path=str(folder / "out" / place))
        tracker.general_config_tracker.model_name_sanitized = f"model__{seed}"
        tracker.save_results_aggregated(results=found, samples=samples)
        for task in samples:
            tracker.save_results_samples(task, samples[task])
    return folder / "out"


@pytest.fixture
def out(logs, tmp_path) -> Path:
    return Path(shutil.copytree(logs, tmp_path / "out"))


def comparisons(capsys, *names):
    code, out, err = call(capsys, "compare", *names, "--json")
    assert code == 0, err
    return json.loads(out.splitlines()[-1])["comparisons"], err


def values(folder: Path, task: str, metric: str) -> np.ndarray:
    [path] = folder.rglob(f"samples_{task}_*.jsonl")
    return np.array([json.loads(line)[metric] for line in path.read_text().splitlines()], dtype=float)


def results(folder: Path) -> dict:
    [path] = folder.rglob("results_*.json")
    return json.loads(path.read_text())["results"]


def test_logs_of_two_models_are_paired_by_document(capsys, out):
    rows, err = comparisons(capsys, out / "base", f"tuned={out / 'tuned' / 'seed-1'}")
    found = {(row["task"], row["metric"]): row for row in rows}
    assert set(found) == {("both", "acc"), ("one", "acc_norm"), ("two", "acc_norm"), ("texts", "loss")}
    base, tuned = out / "base", out / "tuned" / "seed-1"
    together = found["both", "acc"]
    assert together["difference"] == pytest.approx(
        results(tuned)["both"]["acc,none"] - results(base)["both"]["acc,none"]
    )
    assert (together["n"], together["scope"], together["declared"]) == (48, "checkpoints", False)
    one = found["one", "acc_norm"]
    a, b = values(base, "one", "acc_norm"), values(tuned, "one", "acc_norm")
    wins, losses = int((b > a).sum()), int((a > b).sum())
    assert one["difference"] == pytest.approx((wins - losses) / 30)
    assert one["p"] == pytest.approx(binomtest(wins, wins + losses).pvalue if wins + losses else 1.0)
    tested = [row for row in rows if row["p"] is not None]
    assert [row["adjusted_p"] for row in tested] == pytest.approx(
        multipletests([1.0] * (len(rows) - len(tested)) + [row["p"] for row in tested], method="holm")[1][
            -len(tested) :
        ]
    )
    assert all(
        row["sentence"].startswith("Exploratory: ") and "tuned" in row["sentence"] for row in rows if row["sentence"]
    )
    assert "word_perplexity has no number for an item" in err


def test_folders_of_seeds_and_repeated_labels_are_runs_of_one_arm(capsys, out):
    rows, err = comparisons(capsys, out / "base", out / "tuned")
    (row,) = (row for row in rows if (row["task"], row["metric"]) == ("one", "acc_norm"))
    base = values(out / "base", "one", "acc_norm")
    mean = np.mean([values(out / "tuned" / f"seed-{seed}", "one", "acc_norm").mean() for seed in (1, 2)])
    assert (row["seeds"], row["scope"]) == (2, "method")
    assert row["difference"] == pytest.approx(mean - base.mean())
    assert "is paired with every run" in err
    again, _ = comparisons(
        capsys, f"base={out / 'base'}", f"t={out / 'tuned' / 'seed-2'}", f"t={out / 'tuned' / 'seed-1'}"
    )
    assert [row["difference"] for row in again] == pytest.approx([row["difference"] for row in rows])


def edit(folder: Path, task: str, change) -> Path:
    [path] = folder.rglob(f"samples_{task}_*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in change(lines)))
    return path


def test_other_numbers_of_the_same_documents_do_not_matter(capsys, out):
    before, _ = comparisons(capsys, out / "base", out / "tuned" / "seed-1")

    def shuffled(lines):
        return [{**line, "doc_id": number} for number, line in enumerate(reversed(lines))]

    edit(out / "tuned" / "seed-1", "one", shuffled)
    after, _ = comparisons(capsys, out / "base", out / "tuned" / "seed-1")
    assert [row["difference"] for row in after] == pytest.approx([row["difference"] for row in before])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines[:-2], "it holds 28 items of the 30"),
        (lambda lines: [{**line, "doc_hash": f"other {line['doc_id']}"} for line in lines], "30 of 48 in"),
        (
            lambda lines: [{**lines[0], "doc_hash": "x"}, *lines[1:]],
            "Under the same number lie other documents: one doc_id 0.",
        ),
        (
            lambda lines: [{**lines[3], "target_hash": "x"}, *lines[:3], *lines[4:]],
            "other right answers to 1 of 48 items of both (one doc_id 3)",
        ),
        (lambda lines: [{**line, "acc": float("nan")} for line in lines], "acc is nan"),
        (lambda lines: [{"text": "no sample"}], "there is no `doc_id`"),
        (lambda lines: [], "it holds no samples"),
    ],
)
def test_what_does_not_match_is_named(capsys, out, change, said):
    path = edit(out / "tuned" / "seed-1", "one", change)
    code, printed, err = call(capsys, "compare", out / "base", out / "tuned" / "seed-1")
    assert (code, printed) == (2, "")
    assert said in err
    assert "holds" not in said or str(path) in err


def test_items_that_only_one_side_has_are_named_without_results_too(capsys, out):
    for each in out.rglob("results_*.json"):
        each.unlink()
    edit(out / "tuned" / "seed-1", "two", lambda lines: lines[:-7])
    code, _, err = call(capsys, "compare", out / "base", out / "tuned" / "seed-1")
    assert code == 2
    assert "7 of 18 in" in err
    assert "(doc_id 11, doc_id 12, doc_id 13, doc_id 14, doc_id 15 and 2 more)" in err


def test_other_prompts_are_told(capsys, out):
    edit(out / "tuned" / "seed-1", "one", lambda lines: [{**line, "prompt_hash": "x"} for line in lines])
    _, err = comparisons(capsys, out / "base", out / "tuned" / "seed-1")
    assert "30 of 30 items of" in err
    assert "models and prompts together" in err


def test_a_metric_that_is_no_mean_of_items_is_left_out(capsys, out):
    [path] = (out / "base").rglob("results_*.json")
    found = json.loads(path.read_text())
    found["results"]["one"]["acc_norm,none"] += 0.1
    path.write_text(json.dumps(found))
    rows, err = comparisons(capsys, out / "base", out / "tuned" / "seed-1")
    assert ("one", "acc_norm") not in {(row["task"], row["metric"]) for row in rows}
    assert "no mean of items" in err


def test_several_samples_of_a_document_are_one_cluster(capsys, out):
    for place in ("base", "tuned/seed-1"):
        for task in SIZES:
            edit(out / place, task, lambda lines: [line for line in lines for _ in range(3)])
    rows, _ = comparisons(capsys, out / "base", out / "tuned" / "seed-1")
    (row,) = (row for row in rows if (row["task"], row["metric"]) == ("one", "acc_norm"))
    a, b = (values(out / place, "one", "acc_norm")[::3] for place in ("base", "tuned/seed-1"))
    assert row["n"] == 90
    # Copies add nothing: the error is that of 30 documents.
    half = (row["high"] - row["low"]) / 2
    assert half > 0.9 * 2.04 * (b - a).std(ddof=1) / 30**0.5


def test_logs_that_cannot_be_told_apart_are_refused(capsys, out):
    (out / "tuned" / "seed-1").rename(out / "tuned" / "first")
    code, _, err = call(capsys, "compare", out / "base", out / "tuned")
    assert (code, "holds 2 evaluations" in err) == (2, True)
    [path] = (out / "base").rglob("samples_one_*.jsonl")
    shutil.copyfile(path, path.with_name("samples_one_2031-01-01T00-00-00.0.jsonl"))
    code, _, err = call(capsys, "compare", out / "base", out / "tuned" / "first")
    assert (code, "holds 2 results of one" in err) == (2, True)


LONG = "item,model,seed,value\n" + "".join(
    f"q{item},{arm},{seed},{(item * 7 + seed + (arm == 'b') * item) % 5 / 5}\n"
    for arm in "ab"
    for seed in range(3)
    for item in range(12)
)


def test_long_and_wide_tables_give_what_scipy_gives(capsys, tmp_path):
    rng = np.random.default_rng(0)
    a, b = rng.random(25), rng.random(25)
    wide = tmp_path / "wide.csv"
    wide.write_text("base,tuned\n" + "".join(f"{one},{two}\n" for one, two in zip(a, b, strict=True)))
    (row,), _ = comparisons(capsys, wide)
    assert (row["arm"], row["reference"], row["n"]) == ("tuned", "base", 25)
    expected = ttest_rel(b, a).confidence_interval()
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
    for name, column in (("x.tsv", a), ("y.tsv", b)):
        lines = [f"{item}\t{value}\n" for item, value in enumerate(column)]
        rng.shuffle(lines)
        (tmp_path / name).write_text("item\tvalue\n" + "".join(lines))
    (again,), _ = comparisons(capsys, tmp_path / "x.tsv", tmp_path / "y.tsv")
    assert (again["low"], again["high"]) == pytest.approx((row["low"], row["high"]))


def test_a_table_with_seeds_is_a_claim_about_methods(capsys, tmp_path):
    table = tmp_path / "long.csv"
    table.write_text(LONG)
    (row,), _ = comparisons(capsys, table)
    assert (row["seeds"], row["scope"], row["n"]) == (3, "method", 12)
    (turned,), _ = comparisons(capsys, f"{table}:b", f"first={table}:a")
    assert (turned["arm"], turned["difference"]) == ("first", pytest.approx(-row["difference"]))


def test_samples_in_a_table_are_clusters(capsys, tmp_path):
    table = tmp_path / "samples.csv"
    rows = [f"q{item},{arm},{(item + arm) % 2}" for item in range(10) for arm in (0, 1) for _ in range(4)]
    table.write_text("item,arm,value\n" + "\n".join(rows))
    (row,), err = comparisons(capsys, table)
    assert "clustered by item" in err
    assert (row["n"], row["test"]) == (40, "sign flip (items)")
    # Ten items that differ by +1 and -1 in turn, whatever the number of copies.
    assert row["p"] == 1.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("item,arm,value\nq,a,1\n", "only one arm"),
        ("item,arm,value\n", "there are no rows"),
        ("item,arm,value\nq,a,1\nq,b,high\n", ":3: value: 'high' is no number"),
        ("item,arm,value\nq,a,1\nq,b,\n", ":3: value: '' is no number"),
        ("item,arm,value\nq,a,1\nq,b,nan\n", ":3: value is nan"),
        ("item,arm,value\nq,a,1\np,b,1\n", "not measured on the same items"),
        ("item,arm,value,seed\nq,a,1,0\nq,b,1,x\n", ":3: seed: 'x'"),
        ("item,arm,value,seed\nq,a,1,0\nq,b,1,1\n", "no seed in common"),
        ("item,arm,value,seed\nq,a,1,0\nq,a,1,\nq,b,1,1\n", "some rows have a seed and some have none"),
        ("item,arm,value,extra\nq,a,1,0\n", "there is a column 'extra'"),
        ("item,a,a\nq,1,1\n", "two columns are called 'a'"),
        ("item,arm,value\n,a,1\n", "the item has no name"),
        ("item,arm,value\nq,a\n", "value: '' is no number"),
        ("item\nq\n", "neither a column `value`"),
    ],
)
def test_a_table_that_cannot_be_read_names_the_place(capsys, tmp_path, text, said):
    table = tmp_path / "table.csv"
    table.write_text(text)
    code, out, err = call(capsys, "compare", table)
    assert (code, out) == (2, "")
    assert said in err


def test_names_that_do_not_go_together(capsys, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("item,a,b\nq,1,0\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    for names, said in (
        ((table, "quickstart"), "runs are not compared with such"),
        ((tmp_path / "absent.csv", tmp_path / "other.csv"), "absent.csv: there is no such file"),
        ((table, tmp_path / "samples_x.jsonl"), "samples_x.jsonl: there is no such file"),
        ((table, tmp_path / "empty"), "holds no samples_*.jsonl"),
        ((table, tmp_path / "notes.txt"), "neither a run"),
        ((f"{table}:c",), "has no arm 'c'; it has: a, b"),
        ((f"x={table}:a", f"x={table}:b"), "give it once"),
    ):
        code, _, err = call(capsys, "compare", *names)
        assert (code, said in err) == (2, True), err
