"""Floors: what the best constant answer scores, and what answers are worth behind the question of another item."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from layersig.evaluating.clusters import clusters_of
from layersig.evaluating.items import floor_outcomes, score_task
from layersig.evaluating.loading import load_task
from layersig.evaluating.model import SharedPrefixLM
from layersig.recipe.schema import TaskSettings
from layersig.streams import Streams
from tests.evaluating.test_arithmetic import LINES, WholeTokens
from tests.evaluating.test_written import load
from tests.study import RECIPE, call, write_lines, write_study
from tests.tiny import tiny_model, tiny_tokenizer

YAML = """
task: mine
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{asked}}?"
doc_to_choice: choices
doc_to_target: right
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""

FRESH = [[f"text {n} {c}" for c in "abcd"] for n in range(8)]


@pytest.mark.parametrize(
    ("choices", "right", "floor"),
    [
        (FRESH, [0, 1, 1, 1, 2, 3, 3, 0], 3 / 8),  # places recur, texts never do
        ([["yes", "no"]] * 8, [0, 0, 0, 1, 0, 1, 0, 0], 6 / 8),  # both recur alike
        ([["yes", "no"], ["no", "yes"]] * 4, [0, 1] * 4, 1.0),  # the text recurs, the place does not
        ([["no", "yes"], ["maybe", "no", "yes"]] * 4, [1, 2] * 4, 1.0),  # choices of other number
        (FRESH, [[0, 1], [1], [1, 2], [3], [1], [0], [2, 3], [1]], 5 / 8),  # several right ones
        (FRESH, [own[n % 3] for n, own in enumerate(FRESH)], 3 / 8),  # right by its text
        (FRESH, [own[2] for own in FRESH], 1 / 4),  # always in one place, which no model sees
        (FRESH, [[0, 1], [0]] * 4, 3 / 8),  # so are several right ones, in half of the rows
        ([["yes", f"no {n}"] for n in range(8)], [0] * 8, 1.0),  # in one place, but of one text too
    ],
)
def test_the_constant_floor_counts_places_and_texts(
    tmp_path: Path, choices: list[list[str]], right: list[Any], floor: float
) -> None:
    rows = [{"asked": f"q{n}", "choices": c, "right": r} for n, (c, r) in enumerate(zip(choices, right, strict=True))]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "mine.yaml").write_text(YAML)
    task = load_task(TaskSettings(source="file:mine.yaml"), tmp_path / "mine.yaml", Streams(0))
    scored = score_task(task, SharedPrefixLM(tiny_model("llama"), tiny_tokenizer()))
    assert scored.summary["mine"]["constant"] == pytest.approx(floor)


def test_a_group_takes_the_best_place_of_rows_whose_order_says_something(tmp_path: Path) -> None:
    """One part is right in its first place throughout, as BLiMP is: half of its rows, by chance."""
    for name, right in (("mine", [0] * 8), ("yours", [1, 1, 1, 0, 1, 1, 1, 1])):
        rows = [{"asked": f"q{n}", "choices": [f"{name} {n}", f"not {n}"], "right": r} for n, r in enumerate(right)]
        write_lines(tmp_path / f"{name}.jsonl", rows)
        (tmp_path / f"{name}.yaml").write_text(YAML.replace("mine", name).replace("rows.jsonl", f"{name}.jsonl"))
    (tmp_path / "both.yaml").write_text("group: both\ntask: [mine, yours]\naggregate_metric_list: [{metric: acc}]\n")
    task = load_task(TaskSettings(source="file:both.yaml"), tmp_path / "both.yaml", Streams(0))
    scored = score_task(task, SharedPrefixLM(tiny_model("llama"), tiny_tokenizer()))
    assert scored.summary["both"]["constant"] == (7 + 8 / 2) / 16


def test_a_score_of_the_definitions_own_has_no_constant_floor(tmp_path: Path) -> None:
    """As that of truthfulqa_mc2, which shares out the probability of all choices."""
    (tmp_path / "own.py").write_text("def own(row, results):\n    return {'acc': 0.5}\n")
    rows = [{"asked": f"q{n}", "choices": ["yes", "no"], "right": n % 2} for n in range(4)]
    write_lines(tmp_path / "rows.jsonl", rows)
    (tmp_path / "mine.yaml").write_text(YAML + "process_results: !function own.own\n")
    task = load_task(TaskSettings(source="file:mine.yaml"), tmp_path / "mine.yaml", Streams(0))
    scored = score_task(task, SharedPrefixLM(tiny_model("llama"), tiny_tokenizer()))
    assert scored.summary["mine"]["acc"] == 0.5
    assert "constant" not in scored.summary["mine"]


class Knowing(LM):
    """Finds likely what its table says of a question; writes it too."""

    def __init__(self, known: dict[str, str]) -> None:
        super().__init__()
        self.known = known

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        found = [self.known[request.args[0].strip()] == request.args[1].strip() for request in requests]
        return [(-0.5 if right else -4.0, right) for right in found]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        raise NotImplementedError

    def generate_until(self, requests: list[Instance]) -> list[str]:
        return [self.known[request.args[0].strip()] for request in requests]


def floors_of(folder: Path, definition: str, rows: list[dict[str, Any]], model: LM) -> tuple[list[float], list[float]]:
    """The first metric on every item, and its floor."""
    write_lines(folder / "rows.jsonl", rows)
    (folder / "mine.yaml").write_text(definition)
    task = load_task(TaskSettings(source="file:mine.yaml"), folder / "mine.yaml", Streams(0))
    scored = score_task(task, model)
    found = (scored.outcomes, floor_outcomes(task, model, scored))
    metric = scored.outcomes[0].metric
    return tuple([each.value for each in part if each.metric == metric] for part in found)  # type: ignore[return-value]


def test_the_floor_of_arithmetic_is_that_of_another_problem(tmp_path: Path) -> None:
    """Three rows in a row ask one problem; a model that knows every answer knows none of another problem's."""
    task = load(tmp_path, "arithmetic_answer", *LINES)
    scored = score_task(task, WholeTokens())
    assert {each.value for each in scored.outcomes if each.metric == "acc"} == {1.0}
    floor = floor_outcomes(task, WholeTokens(), scored)
    assert {each.value for each in floor if each.metric == "acc"} == {0.0}
    assert {each.value for each in floor if each.metric == "logprob"} == {-3.0}
    assert [each.item for each in floor] == [each.item for each in scored.outcomes]
    assert score_task(task, WholeTokens()) == scored


WRITTEN = (
    YAML.partition("output_type")[0]
    + """output_type: generate_until
doc_to_text: "{{asked}}?"
doc_to_target: right
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
generation_kwargs: {until: ["."], do_sample: false}
"""
)
LIKELY = (
    YAML.partition("output_type")[0]
    + """output_type: loglikelihood
doc_to_text: "{{asked}}?"
doc_to_target: right
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
metadata: {version: 1.0, logprob: true}
"""
)


@pytest.mark.parametrize(("definition", "tie"), [(WRITTEN, "source_id"), (WRITTEN, "passage"), (LIKELY, "fact1")])
def test_rows_of_one_cluster_do_not_ask_for_each_other(tmp_path: Path, definition: str, tie: str) -> None:
    rows = [{"asked": f"q{n}", "right": f"a{n // 2}", tie: f"c{n // 2}"} for n in range(6)]
    model = Knowing({f"{row['asked']}?": str(row["right"]) for row in rows})
    assert floors_of(tmp_path, definition, rows, model) == ([1.0] * 6, [0.0] * 6)
    apart = [{key: value for key, value in row.items() if key != tie} for row in rows]
    # Without the label every second row is asked what its twin asks.
    assert floors_of(tmp_path, definition, apart, model) == ([1.0] * 6, [1.0, 0.0] * 3)


def test_rows_without_a_label_are_no_cluster(tmp_path: Path) -> None:
    labels = ["same", None, "same", "", None]
    write_lines(tmp_path / "rows.jsonl", [{"asked": f"q{n}", "right": "a", "passage": p} for n, p in enumerate(labels)])
    (tmp_path / "mine.yaml").write_text(WRITTEN)
    (part,) = load_task(TaskSettings(source="file:mine.yaml"), tmp_path / "mine.yaml", Streams(0)).parts
    first, *others = clusters_of(part)
    assert first is not None
    assert others == [None, first, None, None]


def test_answers_that_are_asked_without_a_question_stay_so(tmp_path: Path) -> None:
    definition = (
        YAML.partition("output_type")[0]
        + """output_type: multiple_choice
doc_to_text: "{{asked}}?"
doc_to_choice: "{{choices}}"
doc_to_target: 0
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_mutual_info, aggregation: mean, higher_is_better: true}
"""
    )
    rows = [{"asked": "q0", "choices": list("abcde")}, {"asked": "q1", "choices": list("xyz")}]
    write_lines(tmp_path / "rows.jsonl", rows)
    (tmp_path / "mine.yaml").write_text(definition)
    (part,) = load_task(TaskSettings(source="file:mine.yaml"), tmp_path / "mine.yaml", Streams(0)).parts
    part.exchange = [1, 0]
    first, second = part.requests_of(list(part.eval_docs))
    assert [request.args[0] for request in first] == ["q1?"] * 5 + [""] * 5
    assert [request.args[0] for request in second] == ["q0?"] * 3 + [""] * 3


def test_the_only_cluster_takes_the_next_row(tmp_path: Path) -> None:
    rows = [{"asked": f"q{n}", "right": f"a{n}", "passage": "same"} for n in range(3)]
    model = Knowing({f"q{n}?": f"a{n}" for n in range(3)})
    assert floors_of(tmp_path, WRITTEN, rows, model) == ([1.0] * 3, [0.0] * 3)


def test_a_likelihood_task_has_a_floor_and_a_log_probability(tmp_path: Path) -> None:
    write_lines(tmp_path / "rows.jsonl", [{"asked": f"q{n}", "right": f"a{n}"} for n in range(3)])
    (tmp_path / "mine.yaml").write_text(LIKELY)
    task = load_task(TaskSettings(source="file:mine.yaml"), tmp_path / "mine.yaml", Streams(0))
    model = Knowing({f"q{n}?": f"a{n}" for n in range(3)})
    scored = score_task(task, model)
    assert scored.summary["mine"]["logprob"] == -0.5
    floor = floor_outcomes(task, model, scored)
    assert {(each.metric, each.value) for each in floor} == {("acc", 0.0), ("logprob", -4.0)}


ROLLING = (
    YAML.partition("output_type")[0]
    + """output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: asked
metric_list: [{metric: word_perplexity}]
"""
)
PROGRAMS = WRITTEN.replace("exact_match", "passes")


@pytest.mark.parametrize(
    ("task", "where", "why"),
    [
        ("humaneval_plus", "evaluate", "its answers are programs"),
        ("mbpp", "evaluate", "its answers are programs"),
        ("wikitext", "evaluate", "the likelihood of complete texts"),
        ("file:rolling.yaml", "evaluate", "the likelihood of complete texts"),
        ("file:programs.yaml", "evaluate", "its answers are programs"),
        ("file:rolling.yaml", "scorer", "the likelihood of complete texts"),
        ("arc_easy", "evaluate", None),
        ("gsm8k", "evaluate", None),
        ("arithmetic_1dc", "scorer", None),
    ],
)
def test_a_floor_that_cannot_be_measured_is_a_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str, where: str, why: str | None
) -> None:
    tasks = f'tasks = [{{ source = "{task}", floor = true }}]'
    head, _, _ = RECIPE.partition("[train]")
    scorer = f'[layers]\nunit = "block"\n[scorers.skipped]\nkind = "ablation"\n{tasks if where == "scorer" else ""}\n'
    evaluate = f"[evaluate]\nallow_code_execution = true\n{tasks if where == 'evaluate' else ''}\n"
    recipe = write_study(tmp_path, recipe=head + scorer + evaluate)
    (tmp_path / "rolling.yaml").write_text(ROLLING)
    (tmp_path / "programs.yaml").write_text(PROGRAMS)
    for verb in ("validate", "run") if why else ("validate",):
        more = ["--runs", tmp_path / "runs"] if verb == "run" else []
        code, _, err = call(capsys, verb, recipe, *more)
        assert code == (0 if why is None else 2)
        assert why is None or (why in err and f"{recipe}:" in err)
