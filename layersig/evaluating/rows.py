"""The rows that a task shows: from a prepared folder, from files beside a user's YAML, or from the hub."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.csv
import pyarrow.parquet
from datasets import Dataset

from layersig.errors import MachineError, UserError, one_line
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
    if config.get("dataset_path") not in _FORMATS:
        return {}
    named = (config.get("dataset_kwargs") or {}).get("data_files")
    if not named:
        raise UserError(f"{base}: task {config['task']} reads {config['dataset_path']} files but names no `data_files`")
    by_split = named if isinstance(named, Mapping) else {"train": named}
    found = {}
    for split, files in by_split.items():
        found[split] = [base / file for file in ([files] if isinstance(files, str) else files)]
        for file in found[split]:
            if not file.is_file():
                raise UserError(f"{file}: no such file; the task {config['task']} names it as its {split} split")
    return found


def file_splits(config: Config, base: Path) -> Splits:
    """The splits of a user's task whose files lie relative to folder `base`; from the hub when it names none."""
    files = declared_files(config, base)
    if not files:
        return hub_splits(config)
    return {split: datasets.concatenate_datasets([_read(path) for path in paths]) for split, paths in files.items()}


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
    except (OSError, datasets.exceptions.DatasetsError, ValueError, RuntimeError) as error:
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


def _read(path: Path) -> Dataset:
    try:
        if path.suffix == ".parquet":
            # A fingerprint of our own spares that of the content, which is only for caches on disk.
            return Dataset(pyarrow.parquet.read_table(path), fingerprint=path.stem)
        if path.suffix == ".csv":
            return Dataset(pyarrow.csv.read_csv(path))
        return Dataset.from_list(_objects(path))
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as {path.suffix[1:]} ({error})") from error


def _objects(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json" and text.lstrip().startswith("["):
        try:
            rows = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}:{error.lineno}: not valid JSON ({error.msg})") from error
    else:
        rows = []
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                try:
                    rows.append(json.loads(line))
                except json.JSONDecodeError as error:
                    raise UserError(f"{path}:{number}: not valid JSON ({error.msg})") from error
    if not rows:
        raise UserError(f"{path}: holds no rows")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise UserError(f"{path}: row {number} is not an object")
    return list(rows)
