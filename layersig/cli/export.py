"""`layersig export RUN ARM [DEST]`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json, offline, run_name, runs
from layersig.errors import UserError
from layersig.exporting import TOOLS
from layersig.exporting.models import loadable_base, model_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layersig.exporting.chosen import Chosen
    from layersig.store.runfolder import RunFolder

_CHECKPOINT = "checkpoint"


@click.command("export")
@run_name
@click.argument("arm", metavar="ARM")
@click.argument("dest", type=click.Path(path_type=Path), metavar="[DEST]", required=False)
@click.option(
    "--to",
    "tool",
    type=click.Choice((_CHECKPOINT, *TOOLS)),
    default=_CHECKPOINT,
    show_default=True,
    help="What to write: the model, or the chosen layers as the configuration of a training tool.",
)
@click.option("--data", help="Data set of the arm; required if the run has several.")
@click.option("--seed", type=int, help="Seed of the arm. Weights need one; a configuration joins all seeds.")
@click.option(
    "--dtype",
    type=click.Choice(("float32", "bfloat16", "float16")),
    help="Cast a merged checkpoint to this type, and say what that loses. [default: float32]",
)
@runs
@offline
@as_json
def command(
    run: str,
    arm: str,
    dest: Path | None,
    tool: str,
    data: str | None,
    seed: int | None,
    dtype: str | None,
    runs: Path,
    offline: bool,
    as_json: bool,
) -> None:
    """Take ARM of RUN elsewhere: its model, or its layers as the configuration of the tool that you train with.

    Without --to, a plain Hugging Face checkpoint with a model card is written into the new folder DEST. A model that
    was pruned or fully fine-tuned is copied unchanged. An adapter is merged into its base model in float32.

    `--to TOOL` writes the configuration to the new file DEST, or to stdout. `--to peft` with DEST writes the trained
    adapter into that folder, with a model card; `AutoPeftModelForCausalLM.from_pretrained` opens it.

    Example: layersig export quickstart ila-30 exported/ila-30

    Example: layersig export quickstart ila-30 --to axolotl
    """
    from layersig.store.runfolder import find_run

    folder = find_run(runs, run)
    if folder.manifest()["smoke"] and tool in (_CHECKPOINT, "peft") and dest is not None:
        click.echo(f"note: {folder.name} is a smoke run, whose models mean nothing", err=True)
    if dest is not None and dest.exists():
        raise UserError(f"{dest} exists already; name a new {'folder' if tool in (_CHECKPOINT, 'peft') else 'file'}")
    if dtype is not None and tool != _CHECKPOINT:
        raise UserError("--dtype is for checkpoints; leave it out, or leave out --to")
    if tool == _CHECKPOINT:
        if dest is None:
            raise UserError("name the new folder for the checkpoint, or a tool: --to peft")
        _checkpoint(folder, arm, dest, data, seed, dtype, offline=offline, as_json=as_json)
    elif tool == "peft" and dest is not None:
        _adapter(folder, arm, dest, data, seed, offline=offline, as_json=as_json)
    else:
        _configuration(folder, arm, tool, dest, data, seed, offline=offline, as_json=as_json)


def _checkpoint(
    run: RunFolder,
    arm: str,
    dest: Path,
    data: str | None,
    seed: int | None,
    dtype: str | None,
    *,
    offline: bool,
    as_json: bool,
) -> None:
    from layersig.exporting.base import base_of
    from layersig.exporting.cells import ADAPTERS, MODELS, one_cell
    from layersig.exporting.chosen import read_chosen, removes
    from layersig.exporting.weights import readable, write_checkpoint, write_template
    from layersig.store.files import files_below, whole_folder

    cell = one_cell(run.path, arm, data, seed)
    needs_base = (run.path / ADAPTERS / cell).is_dir() and not (run.path / MODELS / cell).is_dir()
    base = model_of(run, offline=offline) if needs_base else None
    cast = None if dtype == "float32" else dtype
    chosen = None
    if not removes(run.path, arm):
        chosen = read_chosen(run.path, arm, base_of(run), data=cell.parts[1], seed=_seed(cell))
    with whole_folder(dest) as part:
        found = write_checkpoint(run, cell, base, part, cast)
        told = found.told(cast)
        if write_template(run, part):
            told.append("chat_template.jinja is the template of the recipe")
        if (card := _card(run, cell, chosen, told, adapter=False)) is not None:
            (part / "README.md").write_text(card, encoding="utf-8")
        readable(part, files_below(part))
    value = {
        "exported": str(dest),
        "cell": str(cell),
        "merged": found.merged,
        "untied": found.untied,
        "dequantised": found.dequantised,
        "cast_error": found.cast_error,
    }
    emit(value, as_json=as_json, text=f"{dest}: {cell} ({'; '.join(told)})")


def _adapter(
    run: RunFolder, arm: str, dest: Path, data: str | None, seed: int | None, *, offline: bool, as_json: bool
) -> None:
    from layersig.exporting.cells import ADAPTERS, one_cell
    from layersig.exporting.chosen import read_chosen
    from layersig.exporting.weights import write_adapter

    cell = one_cell(run.path, arm, data, seed)
    base = loadable_base(run, offline=offline)
    chosen = read_chosen(run.path, arm, base, data=cell.parts[1], seed=_seed(cell))
    if chosen.full:
        raise UserError(f"{arm} was fine-tuned in full and has no adapter; leave out --to for its checkpoint")
    here = (
        "`base_model_name_or_path` is a folder of this machine; before you share the adapter, write there what others "
        "can load"
    )
    card = _card(run, cell, chosen, [] if base.revision else [here], adapter=True)
    write_adapter(run.path / ADAPTERS / cell, base, card, dest)
    emit(
        {"exported": str(dest), "cell": str(cell), "base": base.name, "layers": len(chosen.layers)},
        as_json=as_json,
        text=f"{dest}: {cell} (AutoPeftModelForCausalLM opens it on {base.name})",
    )


def _configuration(
    run: RunFolder,
    arm: str,
    tool: str,
    dest: Path | None,
    data: str | None,
    seed: int | None,
    *,
    offline: bool,
    as_json: bool,
) -> None:
    from layersig.exporting.base import base_of
    from layersig.exporting.chosen import read_chosen
    from layersig.exporting.formats import WRITERS
    from layersig.store.files import write_atomic

    base = base_of(run) if tool == "names" else loadable_base(run, offline=offline)
    chosen = read_chosen(run.path, arm, base, data=data, seed=seed)
    written = WRITERS[tool](chosen)
    for note in written.notes:
        click.echo(f"note: {note}", err=True)
    value = {"to": tool, "layers": [layer.name for layer in chosen.layers], "notes": list(written.notes)}
    if dest is None:
        emit({**value, "text": written.text}, as_json=as_json, text=written.text.rstrip())
    else:
        write_atomic(dest, written.text)
        text = f"{dest}: {len(chosen.layers)} layers for {tool}, of {chosen.title}"
        emit({**value, "exported": str(dest)}, as_json=as_json, text=text)


def _card(run: RunFolder, cell: Path, chosen: Chosen | None, notes: Sequence[str], *, adapter: bool) -> str | None:
    """The model card; None for a run that did not finish."""
    from layersig.exporting.card import model_card
    from layersig.findings.tables import ANALYSIS

    if not (run.path / ANALYSIS).is_file():
        click.echo(f"note: {run.path} was not analysed, so there is no model card; run the recipe to its end", err=True)
        return None
    return model_card(run.path, cell, chosen, adapter=adapter, notes=notes)


def _seed(cell: Path) -> int:
    from layersig.exporting.cells import seed_of

    return seed_of(cell)
