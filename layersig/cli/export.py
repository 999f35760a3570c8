"""`layersig export RUN ARM DEST`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from layersig.cli.main import emit
from layersig.cli.models import find_model
from layersig.cli.options import as_json, offline, run_name, runs
from layersig.store.runfolder import RunFolder, SourceForm

if TYPE_CHECKING:
    import torch


@click.command("export")
@run_name
@click.argument("arm", metavar="ARM")
@click.argument("dest", type=click.Path(path_type=Path), metavar="DEST")
@click.option("--data", help="Data set of the arm; required if the run has several.")
@click.option("--seed", type=int, help="Seed of the arm; required if the run has several.")
@runs
@offline
@as_json
def command(
    run: str, arm: str, dest: Path, data: str | None, seed: int | None, runs: Path, offline: bool, as_json: bool
) -> None:
    """Write ARM of RUN as a plain Hugging Face checkpoint into the new folder DEST.

    The model of an arm that was pruned or fully fine-tuned is copied unchanged, in its dtype. An adapter is merged into
    its base model and saved in float32, because a small update would be lost to rounding in a lower precision. After
    QLoRA that is the dequantised NF4 model, the one that was trained and measured. (The adapter alone is in the run
    folder, in PEFT's format.)

    Example: layersig export quickstart ila-30 exported/ila-30
    """
    from layersig.errors import UserError
    from layersig.store.files import whole_folder
    from layersig.store.runfolder import find_run

    folder = find_run(runs, run)
    if dest.exists():
        raise UserError(f"{dest} exists already; name a new folder")
    cell = _cell(folder.path, arm, data, seed)
    adapter, model = folder.path / "adapters" / cell, folder.path / "models" / cell
    untied = False
    computed_in = _nf4(folder) if adapter.is_dir() else None
    with whole_folder(dest) as part:
        if adapter.is_dir():
            from layersig.models.checkpoints import write_merged

            base = model if model.is_dir() else _base(folder.model(), offline=offline)
            untied = write_merged(base, adapter, part, nf4=computed_in)
        else:
            shutil.copytree(model, part, dirs_exist_ok=True)  # copies, not links: the user may modify an exported model
    told = ["the adapter is merged, in float32" if adapter.is_dir() else "copied unchanged"]
    told += ["into the dequantised NF4 weights that it was trained and measured with"] if computed_in else []
    told += ["the tied head is untied, because the adapter changes the head alone"] if untied else []
    emit(
        {
            "exported": str(dest),
            "cell": str(cell),
            "merged": adapter.is_dir(),
            "untied": untied,
            "dequantised": computed_in is not None,
        },
        as_json=as_json,
        text=f"{dest}: {cell} ({'; '.join(told)})",
    )


def _cell(run: Path, arm: str, data: str | None, seed: int | None) -> Path:
    """`ARM/DATA/seed-K` of the one cell that fits.

    Raises:
        UserError: None or several fit.
    """
    from layersig.errors import UserError

    found = {
        path.relative_to(run / kind) for kind in ("adapters", "models") for path in (run / kind).glob("*/*/seed-*")
    }
    of_arm = sorted(path for path in found if path.parts[0] == arm)
    fitting = [
        path for path in of_arm if data in (None, path.parts[1]) and (seed is None or path.parts[2] == f"seed-{seed}")
    ]
    if len(fitting) == 1:
        return fitting[0]
    if not of_arm:
        arms = ", ".join(sorted({path.parts[0] for path in found})) or "none yet"
        raise UserError(f"{run} has no model or adapter of an arm {arm!r}; its arms are: {arms}")
    shown = ", ".join(f"--data {path.parts[1]} --seed {path.parts[2].removeprefix('seed-')}" for path in of_arm)
    raise UserError(f"{len(fitting)} cells of {arm} fit; choose one of: {shown}")


def _nf4(folder: RunFolder) -> torch.dtype | None:
    """The type that the models of a run computed in, where their weights were in NF4."""
    from layersig.models.devices import pick_device, pick_dtype
    from layersig.recipe.load import stored

    model = stored(folder.path / "resolved.toml").model
    if model.quantization != "nf4":
        return None
    # What `auto` came to on the machine of the run, which may be another one.
    dtype = str(folder.manifest()["machine"].get("dtype", model.dtype))
    return pick_dtype(dtype, pick_device("auto")).dtype


def _base(record: SourceForm, *, offline: bool) -> Path:
    """The model of a run, fetched again if necessary.

    Raises:
        UserError: It has changed since the run.
    """
    from layersig.errors import UserError

    source = find_model(record["resolved"], offline=offline)
    if source.digest != record["digest"]:
        raise UserError(
            f"{source.resolved} has changed since the run, so its adapters no longer fit; run the recipe again"
        )
    return source.path
