from __future__ import annotations

from pathlib import Path

import pytest

from tests.evaluating.library.__main__ import PAGE, line
from tests.evaluating.library.cases import CASES
from tests.evaluating.library.sweep import compare

pytestmark = pytest.mark.filterwarnings("ignore:F-score is ill-defined")  # made-up answers name no class
FEW = (
    "arithmetic_1dc",
    "arc_challenge_chat",
    "kobest_wic",
    "qqp",
    "mela_ar",
    "webqs",
    "logiqa",
    "crows_pairs_french",
    "wmt14-en-fr",
    "chartqa",
    "gsm8k_cot_self_consistency",
    "humaneval_64",
)
"""A dozen that run by default; among them choices, texts, written answers, corpus metrics and refusals."""


def rows() -> dict[str, str]:
    """What the page says of every task."""
    lines = PAGE.read_text(encoding="utf-8").splitlines(keepends=True)
    return {each.split("`")[1]: each for each in lines if each.startswith("| `")}


def check(name: str, folder: Path) -> None:
    assert line(name, compare(name, CASES[name], folder)) == rows()[name]


@pytest.mark.parametrize("name", FEW)
def test_a_task_agrees_with_lm_eval_or_is_refused(name: str, tmp_path: Path) -> None:
    check(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name not in FEW])
def test_every_kind_of_definition_agrees_with_lm_eval_or_is_refused(name: str, tmp_path: Path) -> None:
    check(name, tmp_path)


def test_the_page_tells_of_a_hundred_tasks_or_more() -> None:
    said = rows()
    assert list(said) == list(CASES)
    assert len(said) >= 100
    assert sum(each.endswith("| agrees |\n") for each in said.values()) > len(said) / 2
