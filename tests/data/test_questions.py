from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from layersig.data.questions import Question, read_questions, sample
from layersig.errors import UserError

ROW = {"question_id": 81, "category": "writing", "turns": ["Write.", "Again."]}


def write(folder: Path, *rows: Any) -> Path:
    path = folder / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_rows_of_mt_bench_are_read_in_order(tmp_path: Path) -> None:
    plain = {"question_id": "b", "turns": ["Why?"], "reference": ["So."]}
    assert read_questions(write(tmp_path, ROW, plain)) == (
        Question("81", "writing", ("Write.", "Again."), None),
        Question("b", "all", ("Why?",), ("So.",)),
    )


def test_the_hubs_copy_in_parquet_is_read_alike(tmp_path: Path) -> None:
    rows = [{"prompt": ["Write.", "Again."], "prompt_id": 7, "category": "writing", "reference": []}]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    assert read_questions(tmp_path / "train.parquet") == (Question("7", "writing", ("Write.", "Again."), None),)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([], "row 2: it is a list"),
        ({"question_id": 1}, "`turns` is missing or empty"),
        ({"question_id": 1, "turns": []}, "`turns` is missing or empty"),
        ({"question_id": 1, "turns": "Why?"}, "`turns` is a text"),
        ({"question_id": 1, "turns": ["Why?", " "]}, "texts that are not empty"),
        ({"turns": ["Why?"]}, "`question_id` is missing"),
        ({"question_id": True, "turns": ["Why?"]}, "`question_id` is"),
        ({"question_id": 81, "turns": ["Why?"]}, "the id 81 is listed twice"),
        ({"question_id": 1, "turns": ["Why?"], "category": 3}, "`category` is"),
        ({"question_id": 1, "turns": ["a", "b"], "reference": ["c"]}, "1 answers for 2 turns"),
    ],
)
def test_a_row_that_is_no_question_is_named(tmp_path: Path, row: Any, words: str) -> None:
    with pytest.raises(UserError, match="1 of 2 rows cannot be used") as error:
        read_questions(write(tmp_path, ROW, row))
    assert words in str(error.value)
    assert "row 2" in str(error.value)


def test_a_file_without_rows_tells_what_a_row_is(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no rows.*question_id"):
        read_questions(write(tmp_path))


def test_a_sample_hangs_on_root_and_ids_alone_and_keeps_the_order() -> None:
    every = tuple(Question(str(number), "all", ("Why?",), None) for number in range(40))
    kept = sample(every, "set", 7, 0)
    assert len(kept) == 7
    assert list(kept) == sorted(kept, key=lambda question: int(question.id))
    assert set(sample(every[::-1], "set", 7, 0)) == set(kept)
    assert set(sample(every, "set", 7, 1)) != set(kept)
    assert set(sample(every, "set", 5, 0)) < set(kept)
    assert sample(every, "set", None, 0) == every
