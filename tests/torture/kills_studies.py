"""Small studies that together have every kind of stage, for runs that are killed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from layersig.models.layermap import layer_map
from tests.models.helpers import adapter_folder
from tests.study import RECIPE, WRITTEN, write_lines, write_study
from tests.tiny import tiny_model

HEAD, _, _ = RECIPE.partition("[scorers.ila]")
ANALYZE = """
[analyze]
controls = false
resamples = 100
"""

TUNING = (
    HEAD.replace('name = "chats"', 'name = "chats"\ngenerate = { max_new_tokens = 6, filters = { min_words = 1 } }')
    + """\
[scorers.ila]
kind = "ila"
steps = 4
keep_every = 1

[scorers.alone]
kind = "leave-one-out"
batches = 1

[scorers.gradient]
kind = "gradient-norm"
batches = 2

[scorers.adalora]
kind = "adalora-sensitivity"
batches = 2

[[arms]]
name = "ila-30"
scorer = "ila"
select = { kind = "top", fraction = 0.30 }

[[arms]]
name = "graft-30"
scorer = "ila"
select = { kind = "top", fraction = 0.30 }
action = "graft"

[evaluate]
memorisation = true
conversations = ["file:talk.jsonl"]
answers = { max_new_tokens = 6 }
tasks = [{ source = "file:choice.yaml", floor = true }, "file:written.yaml"]

[judge]
endpoint = "ENDPOINT"
model = "judge"
"""
    + ANALYZE
)
PRUNING = (
    HEAD
    + """\
[layers]
unit = "block"

[scorers.sweep]
kind = "ablation"
tasks = ["file:choice.yaml"]
leak = true

[scorers.greedy]
kind = "greedy"
remove = 2
batches = 1

[scorers.influence]
kind = "block-influence"
batches = 1

[[arms]]
name = "recovered"
scorer = "greedy"
select = { kind = "lowest", count = 1 }
action = "prune"
patch = 4
recover = { steps = 3 }
recover_on = "cut"

[evaluate]
tasks = ["file:choice.yaml"]
"""
    + ANALYZE
)
GIVEN = (
    HEAD.replace("learning_rate = 0.01", "search = { learning_rates = [0.001, 0.02], validation = 0.2 }")
    + """\
[update]
source = "path:adapter"

[scorers.path]
kind = "path-attribution"
batches = 1
nodes = 2

[[arms]]
name = "top"
scorer = "path"
select = { kind = "top", fraction = 0.30 }
"""
    + ANALYZE
)
PREFERENCES = (
    HEAD.replace("chats.jsonl", "pairs.jsonl").replace("batch_size = 4", 'batch_size = 4\nobjective = "dpo"')
    + """\
[scorers.gradient]
kind = "gradient-norm"
batches = 2

[[arms]]
name = "top"
scorer = "gradient"
select = { kind = "top", fraction = 0.30 }
"""
    + ANALYZE
)
EMBEDDED = """\
[scorers.ila]
kind = "ila"
steps = 2

[[arms]]
name = "ila-30"
scorer = "ila"
select = { kind = "top", fraction = 0.30 }
"""
QUESTIONS = [
    {"question_id": 81, "category": "writing", "turns": ["Write.", "Again."]},
    {"question_id": 82, "category": "math", "turns": ["1+1?"]},
]


def _tuning(folder: Path, endpoint: str) -> None:
    write_study(folder, recipe=TUNING.replace("ENDPOINT", endpoint))
    (folder / "written.yaml").write_text(WRITTEN)
    write_lines(folder / "talk.jsonl", QUESTIONS)


def _pruning(folder: Path, endpoint: str) -> None:
    write_study(folder, recipe=PRUNING)


def _given(folder: Path, endpoint: str) -> None:
    write_study(folder, recipe=GIVEN)
    model = tiny_model("llama")
    adapter_folder(model, layer_map(model), folder / "adapter")


def _preferences(folder: Path, endpoint: str) -> None:
    write_study(folder, recipe=PREFERENCES)
    rows = [{"prompt": f"say {number}", "chosen": f"{number} {'abc' * (number % 4 + 1)}", "rejected": "no"}
            for number in range(24)]  # fmt: skip
    write_lines(folder / "pairs.jsonl", rows)


def _embedded(folder: Path, endpoint: str) -> None:
    """A small study of SmolLM2-135M-Instruct, which comes inside a package."""
    recipe = HEAD.replace("path:model", "pypi:smollm2-135m-instruct").replace("heldout = 6", "heldout = 2\nlimit = 10")
    write_study(folder, recipe=recipe.replace("steps = 3", "steps = 2") + EMBEDDED + ANALYZE)


STUDIES: dict[str, Callable[[Path, str], None]] = {
    "tuning": _tuning,
    "pruning": _pruning,
    "given": _given,
    "preferences": _preferences,
    "embedded": _embedded,
}
"""By name, what writes a study into a folder, given the endpoint of a judge: `recipe.toml` and all that it reads."""


def judge(said: Callable[[str], None]) -> None:
    """Serve a judge, and say where."""
    from tests.judging.server import judge_server

    with judge_server() as judge:
        said(judge.url)
        while True:
            time.sleep(60)
