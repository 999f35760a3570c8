"""Few-shot examples never show the item that is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from layersig.errors import UserError
from layersig.evaluating.items import score_task
from layersig.evaluating.loading import ResolvedTask, load_task
from layersig.evaluating.local import LocalTask
from layersig.evaluating.model import SharedPrefixLM
from layersig.findings.leakage import shot_notes
from layersig.recipe.schema import TaskSettings
from layersig.streams import Streams
from tests.tiny import tiny_model, tiny_tokenizer

SHOTS = 5
CHOICE = """
task: boxes
dataset_path: json
dataset_kwargs: {data_files: FILES}
test_split: SCORED
output_type: multiple_choice
doc_to_text: "Box {{box}} is"
doc_to_target: answer
doc_to_choice: choices
metric_list: [{metric: acc}]
"""
WRITTEN = """
task: boxes
dataset_path: json
dataset_kwargs: {data_files: FILES}
test_split: SCORED
output_type: generate_until
doc_to_text: "Box {{box}} is"
doc_to_target: "{{choices[answer]}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 2}
metric_list: [{metric: exact_match}]
"""
Row = Mapping[str, Any]


def boxes(count: int, first: int = 0) -> list[Row]:
    return [{"box": f"B{n:02d}", "choices": ["red", "blue"], "answer": n % 2} for n in range(first, first + count)]


def task(
    folder: Path, text: str, splits: Mapping[str, Sequence[Row]], *, extra: str = "", scored: str = "test"
) -> Path:
    for name, rows in splits.items():
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    files = json.dumps({name: f"{name}.jsonl" for name in splits})
    (folder / "boxes.yaml").write_text(text.replace("FILES", files).replace("SCORED", scored) + extra)
    return folder / "boxes.yaml"


def load(path: Path, shots: int = SHOTS, limit: int | None = None) -> ResolvedTask:
    return load_task(TaskSettings(source=f"file:{path}", shots=shots, limit=limit), path, Streams(0))


def prompts(part: LocalTask) -> list[tuple[str, str]]:
    """The box of each item, and what stands before its question."""
    part.build_all_requests()
    seen = {int(instance.doc_id): str(instance.args[0]) for instance in part.instances}
    return [(row["box"], seen[number].rpartition("Box ")[0]) for number, row in enumerate(part.eval_docs)]


def check(shown: Sequence[tuple[str, str]], items: int, shots: int = SHOTS) -> None:
    """Every item has its examples, and is none of them."""
    assert len(shown) == items
    assert {before.count("Box ") for _, before in shown} == {shots}
    assert all(box not in before for box, before in shown)


@pytest.mark.parametrize("text", [CHOICE, WRITTEN], ids=["choice", "written"])
@pytest.mark.parametrize("sampler", ["default", "first_n"])
@pytest.mark.parametrize("declared", ["", "fewshot_split: test\n"], ids=["no split", "the scored split"])
def test_the_scored_split_shows_no_item_its_own_answer(tmp_path: Path, text: str, sampler: str, declared: str) -> None:
    extra = declared + f"fewshot_config: {{sampler: {sampler}}}\n"
    [part] = load(task(tmp_path, text, {"test": boxes(24)}, extra=extra)).parts
    shown = prompts(part)
    check(shown, 24)
    assert part.shots_from == "test"


def test_neither_an_item_nor_what_is_asked_in_its_place_is_shown(tmp_path: Path) -> None:
    [part] = load(task(tmp_path, CHOICE, {"test": boxes(12)})).parts
    part.build_all_requests()
    rows = list(part.eval_docs)

    def before(asked: Sequence[Row]) -> list[str]:
        return [str(requests[0].args[0]).rpartition("Box ")[0] for requests in part.requests_of(asked)]

    changed = [{**row, "box": f"of {row['box']}"} for row in rows]
    check([(row["box"], shown) for row, shown in zip(rows, before(changed), strict=True)], 12)
    part.exchange = [(number + 1) % len(rows) for number in range(len(rows))]
    exchanged = before(rows)
    check([(row["box"], shown) for row, shown in zip(rows, exchanged, strict=True)], 12)
    check([(rows[number]["box"], shown) for number, shown in zip(part.exchange, exchanged, strict=True)], 12)


def test_a_validation_split_that_is_scored(tmp_path: Path) -> None:
    text = CHOICE.replace("test_split: SCORED", "validation_split: valid\nfewshot_split: valid")
    [part] = load(task(tmp_path, text, {"valid": boxes(12)})).parts
    check(prompts(part), 12)


def test_items_that_another_split_repeats(tmp_path: Path) -> None:
    # The same question in other letters and with its choices turned round, and its answer where they then stand.
    copies = [
        {**row, "box": row["box"].lower(), "choices": ["blue", "red"], "answer": 1 - row["answer"]} for row in boxes(4)
    ]
    splits = {"test": boxes(4), "train": [*copies, *boxes(6, 50)]}
    [part] = load(task(tmp_path, CHOICE, splits, extra="training_split: train\n")).parts
    shown = prompts(part)
    check([(box, before.replace("Box b", "Box B")) for box, before in shown], 4)
    assert part.replaced == dict.fromkeys(part.replaced, 1)
    assert part.replaced
    assert part.shots_from == "train"


def test_copies_of_the_item_in_the_scored_split(tmp_path: Path) -> None:
    rows = [*boxes(8), *boxes(8)]
    [part] = load(task(tmp_path, CHOICE, {"test": rows}), shots=7).parts
    check(prompts(part), 16, shots=7)
    with pytest.raises(UserError, match="only 14 examples do not show the item itself; ask for 14 shots or fewer"):
        load(task(tmp_path, CHOICE, {"test": rows}), shots=15).parts[0].build_all_requests()


def test_rows_that_are_processed_differently_as_examples(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def marked(rows):\n    return rows.map(lambda row: {**row, 'seen': True})\n")
    extra = "fewshot_split: test\nfewshot_config: {process_docs: !function own.marked}\n"
    [part] = load(task(tmp_path, CHOICE, {"test": boxes(12)}, extra=extra)).parts
    check(prompts(part), 12)


def test_prompts_without_a_leak_are_those_of_lm_eval(tmp_path: Path) -> None:
    [part] = load(task(tmp_path, CHOICE, {"test": boxes(24)})).parts
    part.build_all_requests()
    ours = [instance.args for instance in part.instances]
    replaced = dict(part.replaced)
    part.sampler = part.sampler._inner
    part.sampler.set_rnd(1234)
    for number, row in enumerate(part.eval_docs):
        theirs = part.fewshot_context(row, num_fewshot=SHOTS)
        assert (theirs == ours[2 * number][0]) is (number not in replaced)


def test_examples_of_the_definition_itself(tmp_path: Path) -> None:
    extra = "fewshot_config: {sampler: first_n, samples: [{box: X1, choices: [red, blue], answer: 0}, {box: X2, "
    extra += "choices: [red, blue], answer: 1}]}\n"
    [part] = load(task(tmp_path, CHOICE, {"test": boxes(3)}, extra=extra), shots=2).parts
    assert {before for _, before in prompts(part)} == {"Box X1 is red\n\nBox X2 is blue\n\n"}
    assert (part.shots_from, part.replaced) == ("the definition", {})


def test_leaks_are_counted_and_told(tmp_path: Path) -> None:
    model = SharedPrefixLM(tiny_model("llama"), tiny_tokenizer())
    scored = score_task(load(task(tmp_path, CHOICE, {"test": boxes(24)})), model)
    record = scored.summary["boxes"]
    assert record["shots_from"] == "test"
    assert record["shots_replaced"] == {"examples": 6, "items": 6}
    [note] = shot_notes(scored.summary)
    assert "In 6 of 24 prompts an example was the item itself" in note
    apart = score_task(
        load(task(tmp_path, CHOICE, {"test": boxes(4), "train": boxes(9, 50)}, extra="training_split: train\n")), model
    )
    assert apart.summary["boxes"]["shots_replaced"] == {"examples": 0, "items": 0}
    assert list(shot_notes(apart.summary)) == []
    assert "shots_replaced" not in score_task(load(tmp_path / "boxes.yaml", shots=0), model).summary["boxes"]
