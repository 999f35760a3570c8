"""What can be known to be wrong with a model or an update before a weight is read, let alone trained."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from layersig.errors import UserError, first_few
from layersig.layers import LayerMap
from layersig.models.adapters import adapted_layers
from layersig.models.adapters.files import recorded_base
from layersig.models.dense import check_dense
from layersig.models.external_update import check_complete, check_layers
from layersig.models.layermap import layer_map
from layersig.models.load import CheckedModel, check_model, load_tokenizer
from layersig.models.tensors import describe, rounded
from layersig.models.update_folder import is_dense
from layersig.store.jsonfile import read_object


def check_base(path: Path, *, head: bool, dtype: torch.dtype) -> tuple[LayerMap, list[str]]:
    """Check the model of a study and its tokenizer.

    Args:
        path: Its folder.
        head: Whether the output head counts as a layer.
        dtype: Type that the study computes in.

    Returns:
        The layers of the model, and what the user should know of types and tokens.

    Raises:
        UserError: The files do not hold what config.json describes, the layers cannot be found, or the tokenizer has
            tokens that the model has no embedding for.
    """
    checked = check_model(path)
    try:
        layers = layer_map(checked.model, head=head)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    rows = checked.model.get_input_embeddings().weight.shape[0]
    return layers, [*_types(path, checked, dtype), *_tokens(path, load_tokenizer(path), rows)]


def check_checkpoint(path: Path, base: Path, *, dtype: torch.dtype, heldout: bool) -> list[str]:
    """Check a model that was made elsewhere and is to be compared with arms of the study's model.

    Args:
        path: Its folder.
        base: The folder of the study's model.
        dtype: Type that the study computes in.
        heldout: Whether losses on held-out conversations are compared.

    Returns:
        What the user should know of types and tokens.

    Raises:
        UserError: The files do not hold what config.json describes, the tokenizer does not belong to them, or losses
            are compared and the two cut text into other tokens.
    """
    checked, tokenizer = check_model(path), load_tokenizer(path)
    if heldout and tokenizer.get_vocab() != load_tokenizer(base).get_vocab():
        raise UserError(
            f"{path}: its tokenizer has other tokens than that of {base}, so losses per token cannot be compared; set "
            "evaluate.heldout = false and compare on tasks, or bring a checkpoint with the same tokenizer"
        )
    rows = checked.model.get_input_embeddings().weight.shape[0]
    return [*_types(path, checked, dtype), *_tokens(path, tokenizer, rows)]


def check_update(folder: Path, layers: LayerMap, names: Collection[str]) -> list[str]:
    """Check an update that was made elsewhere against the layers that it is to change.

    Args:
        folder: An adapter, a stored difference of weights, or a checkpoint.
        layers: Layers of the model.
        names: What the model is called: the recipe's source, the folder, what its configuration records.

    Returns:
        What the user should know.

    Raises:
        UserError: It does not fit the model, or leaves a layer out.
    """
    if is_dense(folder):
        check_complete(folder, check_dense(folder, layers), layers)
        return []
    if not (folder / "adapter_config.json").is_file():
        check_model(folder)
        check_layers(folder, layers)
        return []
    check_complete(folder, adapted_layers(folder, layers), layers)
    base = recorded_base(folder)
    if base is None or any(_same(base, name) for name in names):
        return []
    return [
        f"{folder}: the adapter records {base!r} as its base model, and the study's model is {' or '.join(names)}. "
        "Their shapes agree, which does not make them one model: if they are two, scores of this update mean nothing"
    ]


def names_of(path: Path, source: str) -> list[str]:
    """What the model in a folder is called: its source in the recipe, and the origin that its configuration records."""
    recorded: Any = read_object(path / "config.json").get("_name_or_path")
    return [source, *([recorded] if isinstance(recorded, str) and recorded else [])]


def _same(one: str, other: str) -> bool:
    """Whether two names may mean one model: equal, but for the scheme, the revision and the folder it lies in."""
    names = [re.sub(r"^\w+:(?!/)", "", name).partition("@")[0].rstrip("/").lower() for name in (one, other)]
    owners, models = zip(*(name.rpartition("/")[::2] for name in names), strict=True)
    both_of_the_hub = all(name.count("/") == 1 and not name.startswith((".", "/")) for name in names)
    return models[0] == models[1] and (owners[0] == owners[1] or not both_of_the_hub)


def _types(path: Path, checked: CheckedModel, dtype: torch.dtype) -> Iterator[str]:
    stored = [tensor for name, tensor in checked.stored.items() if name not in checked.ignored]
    declared = checked.declared
    others = [tensor for tensor in stored if tensor.dtype not in (declared, None)]
    if declared is not None and others:
        yield (
            f"{path}: config.json declares {_spelled(declared)}, but of {len(stored)} tensors the files hold "
            f"{describe(others)}; what the files hold counts"
        )
    if lossy := rounded(stored, dtype):
        yield (
            f"{path}: the study computes in {_spelled(dtype)}, to which {len(lossy)} of {len(stored)} tensors are "
            f"rounded: {describe(lossy)}; model.dtype sets the type"
        )


def _spelled(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _tokens(path: Path, tokenizer: PreTrainedTokenizerBase, rows: int) -> Iterator[str]:
    """Refuse tokens without an embedding that are sure to occur, and name those that may."""
    beyond = {str(token): number for token, number in tokenizer.get_vocab().items() if number >= rows}
    if not beyond:
        return
    found = f"{len(beyond)} token{'' if len(beyond) == 1 else 's'}"
    added = {str(token) for token in tokenizer.added_tokens_decoder.values()}
    special = {name: token for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    template = str(tokenizer.chat_template or "")
    sure = {token for token in beyond if token not in added or token in special.values() or token in template}
    if sure:
        raise UserError(
            f"{path}: the tokenizer has {found} beyond the {rows} rows of the embedding: "
            f"{first_few(sorted(f'{token!r} ({beyond[token]})' for token in sure))}; bring the tokenizer that belongs "
            "to the model, or enlarge the embedding (resize_token_embeddings) and save both"
        )
    yield (
        f"{path}: the tokenizer has {found} beyond the {rows} rows of the embedding "
        f"({first_few(sorted(f'{token!r}' for token in beyond))}); text that holds them is refused"
    )
