"""What the files of a checkpoint hold, read from their headers: names, types and shapes of all tensors.

The files decide what a checkpoint is: config.json may name another type than the one that a tensor is stored in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from layersig.errors import UserError
from layersig.store.jsonfile import read_object

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

_FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_COUNTS = ("BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64")


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of a file.

    Attributes:
        name: Its name in the file.
        file: The file.
        kind: Its type as safetensors spells it, such as `BF16`.
        shape: Its shape.
    """

    name: str
    file: Path
    kind: str
    shape: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype | None:
        """Its floating type; None for integers, truth values, and the 8-bit and narrower floats of packed formats."""
        return _FLOATS.get(self.kind)

    @property
    def counts(self) -> bool:
        """Whether it holds integers or truth values."""
        return self.kind in _COUNTS

    def read(self) -> Tensor:
        """Its value, as it is stored."""
        with safe_open(self.file, framework="pt") as opened:
            tensor: Tensor = opened.get_tensor(self.name)
        return tensor


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Every tensor of the checkpoint in a folder, by name.

    Raises:
        UserError: There are no safetensors, a file is missing or damaged, or the index contradicts the files.
    """
    index = folder / INDEX
    listed: Mapping[str, str] | None = None
    files = [folder / WEIGHTS]
    if index.is_file():
        listed = _weight_map(index)
        files = [folder / name for name in sorted(set(listed.values()))]
        if files != [folder / WEIGHTS] and (folder / WEIGHTS).is_file():
            raise UserError(
                f"{folder}: holds {WEIGHTS} and shards that {INDEX} names; remove the one that is not meant"
            )
    elif not files[0].is_file():
        raise UserError(
            f"{folder}: holds no weights ({WEIGHTS}); other formats are not read "
            "(convert with transformers: from_pretrained, then save_pretrained)"
        )
    found: dict[str, StoredTensor] = {}
    for file in files:
        held = read_header(file)
        if twice := sorted(held.keys() & found.keys()):
            raise UserError(
                f"{folder}: {twice[0]} is stored twice, in {found[twice[0]].file.name} and in {file.name}; "
                "fetch or save the model again"
            )
        found |= held
    if listed is not None:
        _check_index(index, listed, found)
    return found


def read_header(file: Path) -> dict[str, StoredTensor]:
    """Every tensor of one file, by name.

    Raises:
        UserError: It is missing or damaged.
    """
    if not file.is_file():
        raise UserError(f"{file}: no such file; fetch or save it again")
    try:
        with safe_open(file, framework="pt") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
            return {
                name: StoredTensor(name, file, str(each.get_dtype()), tuple(each.get_shape()))
                for name, each in slices.items()
            }
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file}: broken or incomplete ({error}); fetch or save it again") from error


def widest_dtype(stored: Collection[StoredTensor]) -> torch.dtype:
    """The narrowest floating type that holds every tensor without rounding; float32 where none is floating."""
    kinds = {tensor.dtype for tensor in stored if tensor.dtype is not None}
    return reduce(torch.promote_types, kinds) if kinds else torch.float32


def rounded(stored: Collection[StoredTensor], dtype: torch.dtype) -> list[StoredTensor]:
    """The tensors that `dtype` does not hold without rounding."""
    return [each for each in stored if each.dtype is not None and torch.promote_types(each.dtype, dtype) != dtype]


def describe(stored: Collection[StoredTensor]) -> str:
    """Types with their counts and an example of each, the most frequent first."""
    counts = Counter(tensor.kind for tensor in stored)
    examples = {tensor.kind: tensor.name for tensor in reversed(list(stored))}
    return ", ".join(f"{count} in {_spelled(kind)} (such as {examples[kind]})" for kind, count in counts.most_common())


def _spelled(kind: str) -> str:
    return str(_FLOATS[kind]).removeprefix("torch.") if kind in _FLOATS else kind


def _weight_map(index: Path) -> Mapping[str, str]:
    listed = read_object(index).get("weight_map")
    names = list(listed.values()) if isinstance(listed, dict) else []
    if (
        not isinstance(listed, dict)
        or not names
        or not all(isinstance(name, str) and _is_shard(name) for name in names)
    ):
        raise UserError(f"{index}: not an index of weights (`weight_map` names a file for each); fetch the model again")
    return dict(listed)


def _is_shard(name: str) -> bool:
    """Whether a name is that of a file next to the index."""
    return Path(name).name == name and name.endswith(".safetensors")


def _check_index(index: Path, listed: Mapping[str, str], found: Mapping[str, StoredTensor]) -> None:
    lost = [name for name in listed if name not in found]
    if lost:
        raise UserError(f"{index}: {lost[0]} is not in {listed[lost[0]]}, where it should be; fetch the model again")
