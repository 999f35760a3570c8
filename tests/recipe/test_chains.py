"""The made-up problems beside `small/table-10`: as the script writes them, right, and never in two files."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

from layersig.probes.mathematics import final_answer

CHAINS = Path(__file__).parents[2] / "recipes" / "small" / "chains"


def rows(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (CHAINS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def counted(question: str) -> int:
    """The answer, from the words of the question alone."""
    (boxes, each), *_ = re.findall(r"has (\d+) boxes of (\d+)", question)
    total = int(boxes) * int(each)
    for more, less, double in re.findall(r"gets (\d+) more|gives (\d+) away|(as many as that again)", question):
        total = total * 2 if double else total + int(more or 0) - int(less or 0)
    return total


def test_the_files_are_what_the_script_writes() -> None:
    written = runpy.run_path(str(CHAINS / "write.py"))["files"]()
    assert {path.name for path in CHAINS.glob("*.jsonl")} == set(written)
    for name, text in written.items():
        assert (CHAINS / name).read_text(encoding="utf-8") == text


@pytest.mark.parametrize("name", ["short", "long"])
def test_every_chain_ends_in_the_answer_and_every_step_is_right(name: str) -> None:
    for row in rows(name):
        answer = final_answer(row["response"])
        assert answer == str(counted(row["prompt"]))
        steps = re.findall(r"(\d+) ([*+-]) (\d+)(?: = |, which gives )(\d+)", row["response"])
        assert steps
        for a, sign, b, value in steps:
            assert {"*": int(a) * int(b), "+": int(a) + int(b), "-": int(a) - int(b)}[sign] == int(value)


def test_problems_are_right_and_in_one_file_alone() -> None:
    assert all(row["answer"] == str(counted(row["problem"])) for row in rows("problems"))
    chains = [row["prompt"].split("\n")[0] for name in ("short", "long") for row in rows(name)]
    questions = {*chains, *(row["problem"] for row in rows("problems"))}
    assert len(questions) == 120 + 120 + 60
