"""What other tools call the model of a run."""

from __future__ import annotations

from dataclasses import dataclass

from layersig.recipe.load import stored
from layersig.store.runfolder import RunFolder


@dataclass(frozen=True)
class Base:
    """The model that an arm was tuned from.

    Attributes:
        name: A repository of the hub, or a folder of this machine.
        revision: The commit of the repository.
        quantized: Whether its weights were in NF4.
    """

    name: str
    revision: str | None
    quantized: bool


def base_of(run: RunFolder) -> Base:
    """The model of a run by its name; nothing is fetched. Without a revision, only the folder of it can be opened."""
    scheme, _, name = run.model()["resolved"].partition(":")
    quantized = stored(run.path / "resolved.toml").model.quantization == "nf4"
    if scheme == "hub":
        repository, _, revision = name.partition("@")
        return Base(repository, revision, quantized)
    return Base(name, None, quantized)
