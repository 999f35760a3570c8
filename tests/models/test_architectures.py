"""What the page of architectures says, tried again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.architectures import NAMES, PAGE, RAW, survey, table

_TRIED = ("gemma3n_text", "nemotron_h", "diffllama", "deepseek_v3", "recurrent_gemma")


def row_of(name: str) -> str:
    return next(line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{name}` |"))


@pytest.mark.parametrize("name", _TRIED)
def test_an_architecture_does_what_the_page_says(name: str) -> None:
    assert list(table((name,)))[-1].strip() == row_of(name)


def test_every_architecture_has_a_row_and_none_a_raw_error() -> None:
    assert [line.split("`")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")] == list(NAMES)
    assert RAW not in PAGE.read_text()


@pytest.mark.parametrize("name", ["gemma4", "mamba2", "rwkv", "gpt_neo", "bamba"])
@pytest.mark.filterwarnings("ignore")
def test_an_architecture_can_be_planned_and_run(name: str, tmp_path: Path) -> None:
    assert survey(name, tmp_path).runs == "yes"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")
def test_no_architecture_ends_in_a_raw_error(name: str, tmp_path: Path) -> None:
    row = survey(name, tmp_path)
    assert RAW not in f"{row.layers}{row.difference}{row.tunes}{row.prunes}{row.runs}"
