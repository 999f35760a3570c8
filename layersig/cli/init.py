"""`layersig init DATA`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TypeVar

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json
from layersig.errors import UserError

T = TypeVar("T", int, float, str)

_MODEL = "pypi:smollm2-135m-instruct"
_RECIPE = """\
# Which layers matter when {model} is tuned on {data}?
#
#   layersig validate {recipe}  # every fault at once
#   layersig plan {recipe}  # time, memory, and the differences that can be found
#   layersig run {recipe}
#
# Every key: docs/reference/recipe.md, or `layersig schema` for an editor.

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

[scorers.ila]
kind = "ila"  # learns a mask over the update of tuning all layers

[[arms]]
name = "selected"  # tune the layers that ILA ranks highest; controls of equal size are added
scorer = "ila"
select = {{ kind = "top", fraction = {fraction:g} }}

[evaluate]
heldout = true  # and tasks = ["hellaswag", ...] for benchmarks
"""


@click.command("init")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("-o", "recipe", type=click.Path(path_type=Path), help="Recipe to write. [default: NAME-OF-DATA.toml]")
@click.option("--model", help=f"Model source. [default: {_MODEL}]")
@click.option("--fraction", type=float, help="Share of the layers to tune. [default: 0.3]")
@click.option("--seeds", type=int, help="Training runs of every arm. [default: 1]")
@click.option("--heldout", type=int, help="Held-out conversations. [default: a fifth of the rows, at most 100]")
@click.option("--yes", is_flag=True, help="Take the defaults; do not ask.")
@as_json
def command(
    data: Path,
    recipe: Path | None,
    model: str | None,
    fraction: float | None,
    seeds: int | None,
    heldout: int | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Write a commented recipe for DATA, a .jsonl, .json or .parquet file of conversations.

    Asks for what the options leave open.

    Example: layersig init chats.jsonl --model hub:HuggingFaceTB/SmolLM2-135M --yes
    """
    from layersig.data.rows import read_rows
    from layersig.recipe.load import load
    from layersig.store.files import write_atomic

    if not data.is_file():
        raise UserError(f"there is no file {data}; name a .jsonl, .json or .parquet file of conversations")
    rows = read_rows(data)
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", data.stem).strip("-_") or "mine"
    target = recipe or Path(f"{name}.toml")
    if target.exists():
        raise UserError(f"{target} exists already; give another name with -o")
    if not target.parent.is_dir():
        raise UserError(f"there is no folder {target.parent}")
    asking = not yes and not as_json and sys.stdin.isatty()
    click.echo(f"{data}: {len(rows.conversations)} conversations ({rows.shape})", err=True)
    model = _asked(asking, "model (hub:ID, path:FOLDER or pypi:NAME)", model, _MODEL)
    fraction = _asked(asking, "share of the layers to tune, above 0 and at most 1", fraction, 0.3)
    seeds = _asked(asking, "training runs of every arm", seeds, 1)
    most = min(max(len(rows.conversations) // 5, 1), 100)
    heldout = _asked(asking, "held-out conversations", heldout, most)
    text = _RECIPE.format(
        model=model.partition(":")[2] or model,
        data=data.name,
        recipe=target,
        name=json.dumps(name),
        seeds=list(range(max(seeds, 0))),
        model_source=json.dumps(_from(target, model, "path:"), ensure_ascii=False),
        data_name=json.dumps(name),
        data_source=json.dumps(_from(target, f"file:{data}", "file:"), ensure_ascii=False),
        heldout=heldout,
        fraction=fraction,
    )
    write_atomic(target, "".join(_aligned(line) for line in text.splitlines(keepends=True)))
    try:
        load(target)
    except UserError:
        target.unlink()
        raise
    emit({"recipe": str(target)}, as_json=as_json, text=f"{target}: next, `layersig plan {target}`")


def _asked(asking: bool, question: str, given: T | None, default: T) -> T:
    """What an option gives, or the user types, or the default."""
    if given is not None:
        return given
    if not asking:
        return default
    answer: T = click.prompt(question, default=default, type=type(default), err=True)
    return answer


def _aligned(line: str) -> str:
    """A line of a recipe with its comment at a common column."""
    key, gap, comment = line.partition("  # ")
    return f"{key.rstrip():36}# {comment}" if gap and not line.startswith("#") else line


def _from(recipe: Path, source: str, scheme: str) -> str:
    """A source whose path starts from the folder of the recipe, as recipes have them."""
    if not source.startswith(scheme):
        return source
    path = Path(source.removeprefix(scheme)).expanduser()
    if path.is_absolute() or recipe.resolve().parent == Path.cwd():
        return source
    return f"{scheme}{path.resolve()}"
