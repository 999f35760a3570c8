"""Sources on this machine: `path:DIR` models and `file:X` data."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from layersig.errors import UserError
from layersig.sources.entries import hash_file, hash_files
from layersig.sources.source import Kind, Request, Source
from layersig.store.hashing import digest_of
from layersig.store.jsonfile import read_object

DENSE_UPDATE = "dense_update.safetensors"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER = "adapter_model.safetensors"
MODEL_PATTERNS = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    INDEX,
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "*.model",
    "chat_template*",
    "*processor_config.json",
    "tekken.json",
)
"""What a model consists of, at the top of its folder; code and pickles are never read."""
DATA_SUFFIXES = (".parquet", ".jsonl", ".json")
"""Formats of data files, the preferred first."""
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "spiece.model")
_ROW: Mapping[Kind, str] = {"data": "conversation", "questions": "question"}


class PathModel:
    """`path:DIR`: a Hugging Face folder with safetensors; as an update, an adapter of PEFT as well."""

    kinds: frozenset[Kind] = frozenset({"model", "update"})

    def load(self, kind: Kind, reference: str, request: Request) -> Source:
        """The folder, after its files were checked.

        Raises:
            UserError: It is missing, incomplete or damaged.
        """
        folder = (request.base_dir / Path(reference).expanduser()).resolve()
        resolved = f"path:{folder}"
        notes: tuple[str, ...] = ()
        if kind == "update":
            notes = (check_update_folder(folder),)
        else:
            check_model_folder(folder)
        now = partial(digest_update if kind == "update" else digest_model, folder)
        digest = now(request.cache)
        return Source(
            f"path:{reference}", resolved, folder.name, kind, folder, None, digest, None, notes, digest_now=now
        )


class FileData:
    """`file:X.jsonl|.json|.parquet`: rows of conversations or of questions, read and checked by `layersig.data`."""

    kinds: frozenset[Kind] = frozenset({"data", "questions"})

    def load(self, kind: Kind, reference: str, request: Request) -> Source:
        """The file.

        Raises:
            UserError: It is missing, empty, or of another format.
        """
        path = (request.base_dir / Path(reference).expanduser()).resolve()
        if path.suffix not in DATA_SUFFIXES:
            raise UserError(f"{path}: a data file must end in {', '.join(DATA_SUFFIXES)}")
        if not path.is_file():
            raise UserError(f"{path}: there is no such file; paths are relative to the recipe")
        if path.stat().st_size == 0:
            raise UserError(f"{path}: the file is empty; one {_ROW[kind]} a row is needed")
        now = partial(hash_file, path)
        digest = now(request.cache)
        return Source(f"file:{reference}", f"file:{path}", path.stem, kind, path, None, digest, None, digest_now=now)


def check_model_folder(folder: Path) -> None:
    """Refuse a folder that is not a complete Hugging Face model in safetensors; reads headers only.

    Raises:
        UserError: It names the file that is missing or damaged.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder; paths are relative to the recipe")
    _check_model(folder)
    if (folder / ADAPTER_CONFIG).is_file():
        raise UserError(
            f"{folder}: holds the weights of a model and an adapter ({ADAPTER_CONFIG}), and nothing says whether the "
            "adapter is merged into them; remove the adapter's files if it is, else name the base model as "
            "model.source and the adapter as update.source, in folders of their own"
        )
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise UserError(f"{folder}: has no tokenizer ({', '.join(TOKENIZERS)}); save it into the same folder")


def check_update_folder(folder: Path) -> str:
    """Refuse a folder that holds no update; reads headers only, and returns a description of the update.

    Raises:
        UserError: It names the file that is missing or damaged.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder; paths are relative to the recipe")
    if not (folder / ADAPTER_CONFIG).is_file():
        if (folder / DENSE_UPDATE).is_file():
            _check_safetensors(folder / DENSE_UPDATE)
            return "the update is a stored difference of weights"
        _check_model(folder)
        return "the update is the difference of this checkpoint to the model"
    if any((folder / name).is_file() for name in (WEIGHTS, INDEX)):
        raise UserError(
            f"{folder}: holds an adapter ({ADAPTER_CONFIG}) and the weights of a whole model, and nothing says which "
            "of the two is the update; move one of them to a folder of its own"
        )
    config = read_object(folder / ADAPTER_CONFIG)
    if not (folder / ADAPTER).is_file():
        raise UserError(f"{folder}: has no {ADAPTER}; save the adapter again, as safetensors")
    _check_safetensors(folder / ADAPTER)
    kind = str(config.get("peft_type"))
    return (
        f"the update is {'an' if kind[0] in 'AEIO' else 'a'} {kind} adapter of {config.get('base_model_name_or_path')}"
    )


def _check_model(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: has no config.json; name the folder of a transformers model")
    config = read_object(folder / "config.json")
    if "model_type" not in config:
        raise UserError(f"{folder / 'config.json'}: has no `model_type`; is this the folder of a transformers model?")
    for shard in _shards(folder):
        _check_safetensors(shard)


def digest_model(folder: Path, cache: Path) -> str:
    """Hex sha256 over weights, config and tokenizer: equal for equal models, wherever they come from."""
    paths = {path.name: path for pattern in MODEL_PATTERNS for path in folder.glob(pattern) if path.is_file()}
    return digest_of(hash_files(cache, paths))


def digest_update(folder: Path, cache: Path) -> str:
    """Hex sha256 over the files of an adapter; `digest_model` of another update."""
    files = {name: folder / name for name in (ADAPTER_CONFIG, ADAPTER) if (folder / name).is_file()}
    return digest_of(hash_files(cache, files)) if files else digest_model(folder, cache)


def _shards(folder: Path) -> list[Path]:
    if (folder / INDEX).is_file():
        names = read_object(folder / INDEX).get("weight_map")
        files = list(names.values()) if isinstance(names, dict) else []
        if not files or not all(isinstance(name, str) and _is_shard(name) for name in files):
            raise UserError(f"{folder / INDEX}: its `weight_map` names no file for each tensor; save the model again")
        return [folder / name for name in sorted(set(files))]
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / "adapter_config.json").is_file():
        raise UserError(f"{folder}: holds an adapter, not a model; name the folder of its base model")
    raise UserError(
        f"{folder}: has neither {WEIGHTS} nor {INDEX}; other formats are not read "
        "(convert with transformers: from_pretrained, then save_pretrained)"
    )


def _is_shard(name: str) -> bool:
    """Whether a name is that of a file beside the index."""
    return Path(name).name == name and name.endswith(".safetensors")


def _check_safetensors(path: Path) -> None:
    """Compare the header with the file's size: the format is 8 bytes of header length, JSON header, data."""
    if not path.is_file():
        raise UserError(f"{path.parent}: the shard {path.name} is missing; fetch or copy the complete model")
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > size - 8:
                raise ValueError(f"header of {length:,} bytes in a file of {size:,}")
            header = json.loads(file.read(length))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        if not all(isinstance(end, int) for end in ends):
            raise ValueError("an offset is no number")
    except (
        *(OSError, ValueError, struct.error, RecursionError),
        *(TypeError, KeyError, IndexError, AttributeError),
    ) as error:
        raise UserError(f"{path}: damaged safetensors header ({error}); fetch or save it again") from error
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise UserError(f"{path}: {size:,} bytes long, its header promises {expected:,}; fetch or save it again")
