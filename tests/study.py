"""A whole study on a tiny model, small enough to run in a test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from layersig.cli.main import main
from tests.tiny import save_tiny

RECIPE = """\
name = "tiny"
seeds = [0]

[model]
source = "path:model"
dtype = "float32"

[[data]]
name = "chats"
source = "file:chats.jsonl"
heldout = 6
max_tokens = 64

[train]
rank = 2
dropout = 0.1
steps = 3
batch_size = 4
learning_rate = 0.01

[scorers.ila]
kind = "ila"
steps = 2
keep_every = 1

[[arms]]
name = "ila-30"
scorer = "ila"
select = { kind = "top", fraction = 0.30 }

[[arms]]
name = "matched-random"
select = { kind = "matched-random", like = "ila-30" }

[[arms]]
name = "graft-30"
scorer = "ila"
select = { kind = "top", fraction = 0.30 }
action = "graft"

[evaluate]
tasks = ["file:choice.yaml"]
"""

TASK = """\
task: choice
dataset_path: json
dataset_kwargs:
  data_files:
    test: choice.jsonl
output_type: multiple_choice
test_split: test
doc_to_text: "{{question}}"
doc_to_target: answer
doc_to_choice: choices
metric_list:
  - metric: acc
"""
WRITTEN = """\
task: written
dataset_path: json
dataset_kwargs:
  data_files:
    test: choice.jsonl
output_type: generate_until
test_split: test
doc_to_text: "{{question}}"
doc_to_target: "{{choices[answer]}}"
generation_kwargs: { until: ["\\n"], max_gen_toks: 6 }
metric_list:
  - metric: exact_match
"""
"""A task in which answers are written, on the items of the other one."""


def chats(count: int = 24) -> list[dict[str, object]]:
    """Conversations that differ."""
    return [
        {
            "messages": [
                {"role": "user", "content": f"say {number}"},
                {"role": "assistant", "content": f"{number} {'abc' * (number % 4 + 1)}"},
            ]
        }
        for number in range(count)
    ]


def write_lines(path: Path, rows: Sequence[object]) -> None:
    """Rows as JSONL."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_study(folder: Path, architecture: str = "llama", *, recipe: str = RECIPE, **model: object) -> Path:
    """A recipe with everything it names, in one folder; the path of the recipe."""
    save_tiny(folder / "model", architecture, **model)  # type: ignore[arg-type]
    write_lines(folder / "chats.jsonl", chats())
    (folder / "choice.yaml").write_text(TASK)
    write_lines(
        folder / "choice.jsonl",
        [
            {"question": f"which of {number}", "choices": [" one", " two", " three"], "answer": number % 3}
            for number in range(12)
        ],
    )
    (folder / "recipe.toml").write_text(recipe)
    return folder / "recipe.toml"


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run the command line in this process: exit code, stdout, stderr."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err
