"""`layersig compare` on results that layersig did not write: logs of lm-eval, as lm-eval writes them, and tables."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest
from statsmodels.stats.multitest import multipletests

from tests.cli.comparing import comparisons
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
    assert f"{out / 'base'} is taken for the untouched model" in err
    again, _ = comparisons(
        capsys, f"base={out / 'base'}", f"t={out / 'tuned' / 'seed-2'}", f"t={out / 'tuned' / 'seed-1'}"
    )
    assert [row["difference"] for row in again] == pytest.approx([row["difference"] for row in rows])


def test_one_trained_run_beside_several_speaks_for_its_checkpoint(capsys, out):
    shutil.copytree(out / "base", out / "once")
    rows, err = comparisons(capsys, out / "once", out / "tuned")
    (row,) = (row for row in rows if (row["task"], row["metric"]) == ("one", "acc_norm"))
    assert (row["seeds"], row["scope"]) == (2, "method against a checkpoint")
    assert f"S = 2 training runs of {out / 'tuned'} and 1 of {out / 'once'}" in row["sentence"]
    assert f"{out / 'once'} is one run without a seed" in err
    assert "call it base, as base=PATH" in err


def test_a_file_that_is_called_base_is_the_untouched_model(capsys, tmp_path):
    values = np.random.default_rng(0).uniform(size=(3, 8))
    (tmp_path / "tuned.csv").write_text(
        "item,seed,value\n" + "".join(f"{item},{seed},{values[seed, item]}\n" for seed in (1, 2) for item in range(8))
    )
    for name, scope in (("base.csv", "method"), ("once.csv", "method against a checkpoint")):
        rows = "".join(f"{item},{values[0, item]}\n" for item in range(8))
        (tmp_path / name).write_text(f"item,value\n{rows}")
        (row,), err = comparisons(capsys, tmp_path / name, tmp_path / "tuned.csv")
        assert (row["seeds"], row["scope"]) == (2, scope)
        assert ("is taken for the untouched model" in err) is (name == "base.csv")


def test_runs_that_the_other_side_lacks_are_named(capsys, out):
    shutil.copytree(out / "tuned", out / "more")
    shutil.copytree(out / "tuned" / "seed-1", out / "more" / "seed-3")
    rows, err = comparisons(capsys, out / "tuned", out / "more")
    assert {row["seeds"] for row in rows} == {2}
    assert f"{out / 'more'}: runs whose seed {out / 'tuned'} lacks are left out: 3" in err


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
