"""Several drawn answers to an item: pass@k, the mean over draws, their streams, and what is refused."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from layersig.analysis.pass_at import pass_at
from layersig.errors import UserError
from layersig.evaluating.definitions import check
from layersig.evaluating.draws import check_draws
from layersig.evaluating.stage import evaluate
from layersig.findings.contrasts import contrast
from layersig.findings.outcomes import Measure, outcome_tables
from layersig.findings.responses import Responses
from layersig.jsonform import read_jsonl
from layersig.recipe.load import load
from layersig.recipe.metrics import at_k, kind_of
from layersig.recipe.schema import TaskSettings
from layersig.records import Cell, Outcome
from layersig.stages.job import Job
from layersig.stages.measurements import Evaluate
from layersig.streams import Streams
from layersig.topics.text_probes.compute import probe_rows
from tests.evaluating.test_kept import CHOICE
from tests.recipe.example import EXAMPLE, write
from tests.tiny import save_tiny

WRITTEN = """\
task: letters
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 4, do_sample: false}
filter_list:
  - {name: has, filter: [{function: regex, regex_pattern: "([a-z])", group_select: 0}, {function: take_first}]}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""


@pytest.mark.parametrize("draws", [1, 2, 5, 7])
def test_pass_at_k_is_the_share_of_choices_of_k_with_a_right_one(draws):
    for right in range(draws + 1):
        answers = [place < right for place in range(draws)]
        for k in range(1, draws + 1):
            chosen = list(combinations(answers, k))
            assert pass_at(draws, right, k) == pytest.approx(sum(map(any, chosen)) / len(chosen))
        assert pass_at(draws, right, 1) == pytest.approx(right / draws)


def test_pass_at_k_is_unbiased_and_takes_many_draws():
    rng = np.random.default_rng(0)
    found = [pass_at(10, int(right), 4) for right in rng.binomial(10, 0.2, size=20000)]
    assert np.mean(found) == pytest.approx(1 - 0.8**4, abs=3 * np.std(found) / 20000**0.5)
    assert pass_at(2000, 1, 1000) == pytest.approx(0.5)
    for wrong in ((5, 6, 1), (5, -1, 1), (5, 2, 0), (5, 2, 6)):
        with pytest.raises(ValueError, match="needed"):
            pass_at(*wrong)


def test_names_of_metrics():
    assert at_k("passes", 10) == "passes@10"
    assert at_k("exact_match,strict-match", 3) == "exact_match@3,strict-match"
    assert kind_of("exact_match@3,strict-match") == kind_of("exact_match") == "exact_match"
    measure = Measure("humaneval", "passes@10")
    assert measure.is_share
    assert measure.higher_is_better


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    # A byte-level model of random weights writes any letter; right is one of many.
    rows = [{"question": f"letter {n}:", "answer": "abcdefghijklm"[n % 13]} for n in range(13)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "letters.yaml").write_text(WRITTEN)
    (folder / "capitals.yaml").write_text(CHOICE)
    save_tiny(folder / "model")
    return folder


def run(world: Path, place: Path, seed: int | None = 0, batch_tokens: int = 512, **settings: object) -> Path:
    for name in ("out", "work"):
        (place / name).mkdir(parents=True, exist_ok=True)
    params = {"tasks": [{"source": "file:letters.yaml", **settings}], "batch_tokens": batch_tokens, "dtype": "float64"}
    params |= {"device": "cpu", "quantization": "none", "attention": "sdpa"}
    inputs = {"model": world / "model", "task/0": world / "letters.yaml"}
    evaluate(Job(Cell(), Evaluate.of(**params), inputs, place / "out", place / "work", Streams(0, seed)))
    return place / "out"


def lines(out: Path) -> list[dict]:
    return list(read_jsonl(out / "responses.jsonl", dict))


def test_outcomes_are_those_of_the_draws(world, tmp_path):
    out = run(world, tmp_path, draws=6, temperature=1.5, pass_at=[1, 2, 6])
    drawn: dict[str, list[dict]] = {}
    for line in lines(out):
        drawn.setdefault(line["item"], []).append(line)
    assert [len(own) for own in drawn.values()] == [6] * 13
    assert all([line["draw"] for line in own] == list(range(6)) for own in drawn.values())
    assert all(len({line["response"] for line in own}) > 1 for own in drawn.values())
    outcomes = [Outcome.from_json(line) for line in read_jsonl(out / "items.jsonl", dict)]
    values = {(each.item, each.metric): each.value for each in outcomes}
    assert {metric for _, metric in values} == {"exact_match,has", "exact_match@2,has", "exact_match@6,has"}
    assert 0 < sum(value for (_, metric), value in values.items() if metric == "exact_match@6,has") < 13
    for item, own in drawn.items():
        right = sum(line["scores"]["exact_match,has"] for line in own)
        assert values[item, "exact_match,has"] == pytest.approx(right / 6)
        assert values[item, "exact_match@2,has"] == pytest.approx(pass_at(6, int(right), 2))
        assert values[item, "exact_match@6,has"] == float(right > 0)
    summary = json.loads((out / "results.json").read_text())["tasks"]["letters"]
    assert (summary["draws"], summary["temperature"], summary["n"]) == (6, 1.5, 13)
    assert summary["higher_is_better"]["exact_match@6,has"] is True
    assert summary["lm_eval"]["exact_match,has"] == pytest.approx(summary["exact_match,has"])
    assert summary["incidents"]["answers_cut"] <= 13


def test_a_draw_depends_on_its_name_alone(world, tmp_path):
    def texts(name: str, **options: object) -> dict[tuple[str, int], str]:
        found = lines(run(world, tmp_path / name, temperature=1.0, **options))
        return {(line["item"], line["draw"]): line["response"] for line in found}

    three = texts("three", draws=3)
    five = texts("five", draws=5, batch_tokens=40)
    assert three == {key: five[key] for key in three}
    few = texts("few", draws=3, limit=4)
    assert few == {key: three[key] for key in few}
    assert len(few) == 12
    assert three != texts("seed", draws=3, seed=1)


def test_a_low_temperature_is_the_most_likely_answer(world, tmp_path):
    greedy = lines(run(world, tmp_path / "greedy"))
    drawn = lines(run(world, tmp_path / "drawn", draws=2, temperature=1e-4))
    assert all("draw" not in line for line in greedy)
    for draw in range(2):
        own = [line["response"] for line in drawn if line["draw"] == draw]
        assert own == [line["response"] for line in greedy]


def test_draws_are_resumed_too(world, tmp_path, monkeypatch):
    from layersig.evaluating.kept import Round

    whole = run(world, tmp_path / "whole", draws=4, temperature=1.0, batch_tokens=60)
    keep, times = Round.keep, []

    def deadly(self, answers, tokens):
        times.append(1)
        if len(times) == 5:
            raise KeyboardInterrupt
        keep(self, answers, tokens)

    with monkeypatch.context() as patch:
        patch.setattr(Round, "keep", deadly)
        with pytest.raises(KeyboardInterrupt):
            run(world, tmp_path / "cut", draws=4, temperature=1.0, batch_tokens=60)
    assert not list((tmp_path / "cut" / "out").iterdir())
    again = run(world, tmp_path / "cut", draws=4, temperature=1.0, batch_tokens=60)
    for path in whole.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()


def test_items_are_the_units_of_the_interval_and_seeds_too():
    rng = np.random.default_rng(1)
    evaluations = [
        (
            Cell(arm=arm, seed=seed),
            [Outcome("t", f"i{n}", "passes@5", pass_at(8, int(rng.integers(0, 9)), 5)) for n in range(40)],
        )
        for arm in ("a", "b")
        for seed in (0, 1, 2)
    ]
    tables = outcome_tables(evaluations)
    found = contrast(tables, Measure("t", "passes@5"), None, "a", "b")
    assert found.n == 40
    assert found.differences.shape == (3, 40)
    assert found.scope.value == "method"
    assert found.test(rng).name.startswith("two-way random effects")
    one = contrast(
        outcome_tables([each for each in evaluations if each[0].seed == 0]), Measure("t", "passes@5"), None, "a", "b"
    )
    assert one.test(rng).name == "sign flip (items)"


def test_probes_of_draws_are_means_of_the_item():
    def line(item: str, draw: int, words: float) -> dict:
        return {"task": "t", "item": item, "draw": draw, "probes": {"words": words}}

    base = tuple(line(f"i{n}", draw, n + draw) for n in range(6) for draw in range(2))
    arm = tuple(line(f"i{n}", draw, 2 * n + 3 * draw) for n in range(6) for draw in range(2))
    _, row = probe_rows(
        (Responses("base", None, "t", (None,), (base,)), Responses("arm", "d", "t", (0,), (arm,))), 0.95
    )
    assert (row.n, row.pairs) == (6, 6)
    assert row.value == pytest.approx(np.mean([2 * n + 1.5 for n in range(6)]))
    assert row.difference == pytest.approx(np.mean([n + 1.0 for n in range(6)]))


TASKS = 'tasks = ["hellaswag"'


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ('{ source = "gsm8k", draws = 4 }', "needs a `temperature` above 0"),
        ('{ source = "gsm8k", temperature = 0.8 }', "give `draws` too"),
        ('{ source = "gsm8k", pass_at = [1] }', "give `draws` too"),
        (
            '{ source = "gsm8k", draws = 4, temperature = 0.8, pass_at = [5] }',
            "5 answers cannot be chosen from 4 draws",
        ),
        ('{ source = "gsm8k", draws = 0, temperature = 0.8 }', "draws"),
        ('{ source = "gsm8k", draws = 4, temperature = 0 }', "temperature"),
        ('{ source = "gsm8k", draws = 4, temperature = 0.8, pass_at = [0] }', "pass_at"),
    ],
)
def test_what_does_not_go_together_is_a_fault(tmp_path, entry, said):
    with pytest.raises(UserError, match=r"study\.toml:\d+") as fault:
        load(write(tmp_path, EXAMPLE.replace(TASKS, f"tasks = [{entry}, " + TASKS.removeprefix("tasks = ["))))
    assert said in str(fault.value)


def test_draws_are_read_and_absent_ones_change_nothing(tmp_path):
    entry = '{ source = "gsm8k", draws = 8, temperature = 0.8, pass_at = [1, 4] }, '
    drawn = load(write(tmp_path, EXAMPLE.replace(TASKS, "tasks = [" + entry + TASKS.removeprefix("tasks = ["))))
    assert drawn.recipe.evaluate.tasks[0].counted == (4,)
    assert TaskSettings(source="x", draws=8, temperature=1.0).counted == (8,)
    assert TaskSettings(source="x").counted == ()


def test_tasks_of_choices_cannot_be_drawn(world):
    settings = TaskSettings(source="file:capitals.yaml", draws=2, temperature=1.0)
    with pytest.raises(UserError, match="capitals is multiple_choice"):
        check_draws(settings, world / "capitals.yaml")
    with pytest.raises(UserError, match="multiple_choice"):
        check_draws(TaskSettings(source="pypi:hellaswag", draws=2, temperature=1.0), world)
    check_draws(TaskSettings(source="gsm8k", draws=2, temperature=1.0), world)


def test_tasks_that_ask_for_several_answers_cannot_be_drawn(tmp_path):
    path = tmp_path / "letters.yaml"
    settings = TaskSettings(source="file:letters.yaml", draws=2, temperature=1.0)
    path.write_text(WRITTEN + "repeats: 1\n")
    check_draws(settings, path)
    check("file:letters.yaml", tmp_path, drawn=True)
    path.write_text(WRITTEN + "repeats: 5\n")
    check("file:letters.yaml", tmp_path)
    for refused in (lambda: check_draws(settings, path), lambda: check("file:letters.yaml", tmp_path, drawn=True)):
        with pytest.raises(UserError, match=r"letters asks for 5 answers .*set `repeats: 1`.*or leave `draws` out"):
            refused()
