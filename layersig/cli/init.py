"""`layersig init DATA`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TypeVar

import click

from layersig.cli.first_recipe import MODEL, Start, first_recipe, name_of, read_data, usual_heldout
from layersig.cli.main import emit
from layersig.cli.options import as_json
from layersig.errors import UserError

T = TypeVar("T", int, float, str)


@click.command("init")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("-o", "recipe", type=click.Path(path_type=Path), help="Recipe to write. [default: NAME-OF-DATA.toml]")
@click.option("--model", help=f"Model source. [default: {MODEL}]")
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
    from layersig.recipe.load import load
    from layersig.store.files import write_atomic

    rows = read_data(data)
    target = recipe or Path(f"{name_of(data)}.toml")
    if target.exists():
        raise UserError(f"{target} exists already; give another name with -o")
    if not target.parent.is_dir():
        raise UserError(f"there is no folder {target.parent}")
    asking = not yes and not as_json and sys.stdin.isatty()
    model = _asked(asking, "model (hub:ID, path:FOLDER or pypi:NAME)", model, MODEL)
    fraction = _asked(asking, "share of the layers to tune, above 0 and at most 1", fraction, 0.3)
    seeds = _asked(asking, "training runs of every arm", seeds, 1)
    heldout = _asked(asking, "held-out conversations", heldout, usual_heldout(len(rows.conversations)))
    write_atomic(target, first_recipe(Start(data, model, fraction, seeds, heldout), target))
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
