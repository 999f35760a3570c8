"""The rows that a task shows: from a prepared folder, from files beside a user's YAML, or from the hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import pyarrow
import pyarrow.csv
import pyarrow.parquet
from datasets import Dataset

from layersig.data.raw_rows import raw_rows
from layersig.data.values import RowError, check_depth, kind
from layersig.errors import MachineError, UserError, machine_error, one_line
from layersig.evaluating.definitions import Config
from layersig.evaluating.supported import refusal_of
from layersig.sources.hub import asked_once

Splits = Mapping[str, Dataset]

_FORMATS = frozenset({"json", "csv", "parquet"})


def prepared_splits(folder: Path, config: Config) -> Splits:
    """The splits of one task in a folder of `CONFIG/SPLIT.parquet` (or `.jsonl`).

    CONFIG is the task's name, else the name of its data set's configuration, else the only one there is.

    Raises:
        UserError: The folder holds nothing for this task, or a file is broken.
    """
    wanted = (config["task"], config.get("dataset_name") or "default")
    below = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    chosen = next((folder / name for name in wanted if folder / name in below), None)
    if chosen is None and len(below) == 1:
        chosen = below[0]
    if chosen is None:
        raise UserError(f"{folder}: holds no data for the task {config['task']} (looked for {' and '.join(wanted)})")
    return {path.stem: _read(path) for path in sorted(chosen.iterdir()) if path.suffix in {".parquet", ".jsonl"}}


def declared_files(config: Config, base: Path) -> dict[str, list[Path]]:
    """Files by split that a user's task names in `dataset_kwargs.data_files`; empty when its data lie on the hub.

    Raises:
        UserError: A file does not exist.
    """
    source = config.get("dataset_path")
    if not isinstance(source, str) or not source:
        formats = ", ".join(sorted(_FORMATS))
        raise UserError(f"{base}: task {config['task']}: dataset_path: the name of a data set, or {formats}, is needed")
    options = config.get("dataset_kwargs") or {}
    if not isinstance(options, Mapping):
        raise UserError(f"{base}: task {config['task']}: dataset_kwargs is {kind(options)}; a table is needed")
    if source not in _FORMATS:
        return {}
    named = options.get("data_files")
    if not named:
        raise UserError(f"{base}: task {config['task']} reads {config['dataset_path']} files but names no `data_files`")
    by_split = named if isinstance(named, Mapping) else {"train": named}
    found = {}
    for split, files in by_split.items():
        listed = [files] if isinstance(files, str) else files
        if not isinstance(listed, list) or not listed or not all(isinstance(file, str) for file in listed):
            raise UserError(
                f"{base}: task {config['task']}: data_files: the split {split!r} needs the name of a file, or a list"
            )
        found[str(split)] = [base / file for file in listed]
        for file in found[str(split)]:
            if not file.is_file():
                raise UserError(f"{file}: no such file; the task {config['task']} names it as its {split} split")
    return found


def file_splits(config: Config, base: Path) -> Splits:
    """The splits of a user's task whose files lie relative to folder `base`; from the hub when it names none."""
    files = declared_files(config, base)
    if not files:
        try:
            return hub_splits(config)
        except MachineError as error:
            raise MachineError(f"{base}: {error}") from error
    return {split: _joined(paths) for split, paths in files.items()}


def hub_splits(config: Config) -> Splits:
    """The splits of a task's own data set, from the hub or Hugging Face's cache.

    Raises:
        MachineError: It cannot be reached, and is not in the cache.
    """
    if (reason := refusal_of(config)) is not None:
        raise UserError(f"the task {config['task']} {reason}")
    options = {key: value for key, value in (config.get("dataset_kwargs") or {}).items() if key != "trust_remote_code"}
    try:
        with asked_once(config["dataset_path"]):
            loaded = datasets.load_dataset(config["dataset_path"], config.get("dataset_name"), **options)
    except Exception as error:  # options of a task reach loaders that fail in any way
        raise MachineError(
            f"the data of the task {config['task']} ({config['dataset_path']}) cannot be loaded from the hub: "
            f"{one_line(error).rstrip('.')}"
        ) from error
    return dict(loaded)


def save_splits(splits: Splits, folder: Path) -> None:
    """Write splits as a prepared folder's `CONFIG`."""
    folder.mkdir(parents=True)
    for name, rows in splits.items():
        rows.to_parquet(folder / f"{name}.parquet")


def _joined(paths: list[Path]) -> Dataset:
    """The rows of all files of a split."""
    if all(path.suffix in (".json", ".jsonl") for path in paths):
        return _table([row for path in paths for row in _objects(path)])
    parts = [_read(path) for path in paths]
    try:
        return parts[0] if len(parts) == 1 else datasets.concatenate_datasets(parts)
    except Exception as error:  # the library has no common root of its errors
        names = ", ".join(map(str, paths))
        raise UserError(
            f"{names}: files of one split need the same fields of the same types ({one_line(error)})"
        ) from error


def _read(path: Path) -> Dataset:
    if path.suffix in (".json", ".jsonl"):
        return _table(_objects(path))
    try:
        if path.suffix == ".parquet":
            # A fingerprint of our own spares that of the content, which is only for caches on disk.
            rows = Dataset(pyarrow.parquet.read_table(path), fingerprint=path.stem)
        else:
            rows = Dataset(pyarrow.csv.read_csv(path))
        rows[:1]  # types that have no value in Python show only here
    except Exception as error:  # a damaged file makes these libraries fail in any way
        if isinstance(error, OSError) and error.errno is not None:
            raise machine_error(error) from error
        raise UserError(
            f"{path}: cannot be read as {path.suffix[1:]} ({one_line(error).rstrip('.')}); write it again"
        ) from error
    if not len(rows):
        raise UserError(f"{path}: holds no rows")
    return rows


class _LocatedRow(NamedTuple):
    """A row and where it lies: `rows.jsonl:3`, or `rows.json: row 3`."""

    place: str
    row: dict[str, Any]


def _table(placed: list[_LocatedRow]) -> Dataset:
    """Rows as columns: a field that any of them has is a field of all, null where it is missing."""
    fields = dict.fromkeys(field for _, row in placed for field in row)
    columns: dict[str, list[Any]] = {field: [row.get(field) for _, row in placed] for field in fields}
    try:
        return Dataset.from_dict(columns)
    except Exception as error:  # Arrow and datasets refuse values with errors of every kind
        raise UserError(_mixed(placed, columns) or f"{placed[0].place}: {one_line(error)}") from error


def _mixed(placed: list[_LocatedRow], columns: Mapping[str, list[Any]]) -> str | None:
    """Which field of which row does not go with the rows before it."""
    for field, values in columns.items():
        if _fits(values):
            continue
        fitting, failing = 0, len(values)
        while failing - fitting > 1:
            middle = (fitting + failing) // 2
            fitting, failing = (middle, failing) if _fits(values[:middle]) else (fitting, middle)
        return (
            f"{placed[failing - 1].place}: the field `{field[:80]}` ({kind(values[failing - 1])}) cannot be stored, or "
            "is of another type than in the rows before; give it one type in all rows"
        )
    return None


def _fits(values: list[Any]) -> bool:
    try:
        Dataset.from_dict({"values": values})
    except Exception:
        return False
    return True


def _objects(path: Path) -> list[_LocatedRow]:
    rows = raw_rows(path)
    if not rows:
        raise UserError(f"{path}: holds no rows")
    placed = []
    for number, value in rows:
        place = f"{path}:{number}" if path.suffix == ".jsonl" else f"{path}: row {number}"
        try:
            if isinstance(value, RowError):
                raise value
            if not isinstance(value, dict):
                raise RowError(f"it is {kind(value)}; an object with named fields is needed")
            check_depth(value, "it")
        except RowError as error:
            raise UserError(f"{place}: {error}") from error
        placed.append(_LocatedRow(place, value))
    return placed
