"""Writes the weights of an arm: a plain checkpoint, or an adapter that names its base model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from layersig.errors import UserError
from layersig.exporting.base import Base
from layersig.exporting.cells import ADAPTERS, MODELS
from layersig.recipe.load import stored
from layersig.records import PATCHES
from layersig.store.files import files_below, make_readable, whole_folder
from layersig.store.runfolder import RunFolder

_CARD = "README.md"


class Checkpoint(NamedTuple):
    """How a checkpoint came about.

    Attributes:
        merged: Whether an adapter was merged; else a model was copied.
        untied: Whether a tied head had to be untied, because the adapter changes the head alone.
        dequantised: Whether it was merged into dequantised NF4 weights.
        cast_error: What the cast changed in the tuned layers, as a share of their update.
    """

    merged: bool
    untied: bool = False
    dequantised: bool = False
    cast_error: float = 0.0

    def told(self, dtype: str | None) -> list[str]:
        """What a user has to know about it."""
        if not self.merged:
            return ["copied unchanged"]
        told = ["the adapter is merged, in float32"]
        if self.dequantised:
            told.append("into the dequantised NF4 weights that it was trained and measured with")
        if self.untied:
            told.append("the tied head is untied, because the adapter changes the head alone")
        if dtype is not None:
            told.append(
                f"cast to {dtype}, which changes the tuned layers by {self.cast_error:.1%} of the norm of their update"
            )
        return told


def write_checkpoint(run: RunFolder, cell: Path, base: Path | None, folder: Path, dtype: str | None) -> Checkpoint:
    """Write the model of a cell as a Hugging Face checkpoint into an empty folder.

    Args:
        run: The run.
        cell: `ARM/DATA/seed-K`.
        base: The model of the run; needed where the cell has an adapter and no model of its own.
        folder: Target.
        dtype: Type to cast a merged model to; None keeps float32.
    """
    adapter, model = run.path / ADAPTERS / cell, run.path / MODELS / cell
    refuse_patched(model)
    if not adapter.is_dir():
        shutil.copytree(model, folder, dirs_exist_ok=True)  # copies, not links: the user may modify an exported model
        return Checkpoint(merged=False)
    import torch

    from layersig.models.checkpoints import write_merged
    from layersig.models.devices import pick_device, pick_dtype

    asked = stored(run.path / "resolved.toml").model
    nf4 = None
    if asked.quantization == "nf4":
        # What `auto` was on the machine of the run, which may be another one.
        nf4 = pick_dtype(str(run.manifest()["machine"].get("dtype", asked.dtype)), pick_device("auto")).dtype
    source = model if model.is_dir() else base
    assert source is not None, "an adapter belongs to a model"
    cast = None if dtype is None else getattr(torch, dtype)
    found = write_merged(source, adapter, folder, nf4=nf4, dtype=cast)
    return Checkpoint(True, found.untied, nf4 is not None, found.cast_error)


def write_template(run: RunFolder, folder: Path) -> bool:
    """Give a checkpoint the chat template that it was trained and measured with, and the token that ends its turns.

    Args:
        run: The run.
        folder: The checkpoint, with its tokenizer.

    Returns:
        Whether there is anything to say: False where the template is the tokenizer's own, which is left alone.
    """
    from layersig.data.chat import ChatFormat
    from layersig.models.load import load_tokenizer
    from layersig.models.saving import GENERATION

    chat = ChatFormat(load_tokenizer(folder), stored(run.path / "resolved.toml").model.chat_template)
    if chat.template.name == "model":
        return False
    _replace(folder / "chat_template.jinja", chat.template.text)
    if chat.turn_end is not None:
        file = folder / GENERATION
        settings: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        own = settings.get("eos_token_id")
        ends = own if isinstance(own, list) else [] if own is None else [own]
        settings["eos_token_id"] = ends if chat.turn_end in ends else [*ends, chat.turn_end]
        _replace(file, json.dumps(settings, indent=2, sort_keys=True) + "\n")
    return True


def refuse_patched(model: Path) -> None:
    """Refuse a model with linear maps where blocks are gone.

    Raises:
        UserError: It has some.
    """
    if (model / PATCHES).is_file():
        raise UserError(
            f"{model}: has linear maps where blocks are gone (`patch` of the arm), which no architecture of "
            "transformers has a place for; it is loaded by layersig alone. Export an arm without `patch`"
        )


def write_adapter(adapter: Path, base: Base, card: str | None, folder: Path) -> None:
    """Write an adapter in PEFT's format that `AutoPeftModelForCausalLM.from_pretrained` opens.

    Args:
        adapter: The adapter in the run folder.
        base: The model that it will open: a repository of the hub, or a folder of this machine.
        card: Its model card; None leaves the empty one of PEFT out.
        folder: Target; written completely or not at all.
    """
    with whole_folder(folder) as part:
        shutil.copytree(adapter, part, dirs_exist_ok=True)
        file = part / "adapter_config.json"
        config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        config |= {"base_model_name_or_path": base.name, "revision": base.revision}
        _replace(file, json.dumps(config, indent=2, sort_keys=True) + "\n")
        (part / _CARD).unlink(missing_ok=True)
        if card is not None:
            _replace(part / _CARD, card)
        readable(part, files_below(part))


def readable(folder: Path, files: Iterable[Path]) -> None:
    """Let others read these files of a folder."""
    for name in files:
        make_readable(folder / name)


def _replace(file: Path, text: str) -> None:
    file.unlink(missing_ok=True)
    file.write_text(text, encoding="utf-8")
