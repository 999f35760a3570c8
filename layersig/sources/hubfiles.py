"""Which files of a hub data set hold a split: as its card says, else by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Any

from layersig.errors import UserError
from layersig.sources.files import DATA_SUFFIXES

_SPLIT_WORDS = ("train", "test", "validation", "valid", "val", "dev", "eval")
_NOT_ROWS = ("dataset_infos.json", "dataset_info.json", "state.json")


def files_of_split(
    spec: str, names: Sequence[str], split: str, card: Mapping[str, Any], config: str | None = None
) -> list[str]:
    """Names of the files of a split, sorted.

    The `configs` of the card decide, where it has any: the one that is named, else the default one. Otherwise a file
    belongs to the split whose name stands between separators in its own, as the hub itself reads it; a repository whose
    files name no split at all is one `train` split. Where a split comes in several formats, parquet wins.

    Args:
        spec: How the recipe names the data set, for messages.
        names: All files of the repository.
        split: The split asked for.
        card: Metadata of the repository's card.
        config: Name of the configuration; None for the default one.

    Raises:
        UserError: There is no such split or configuration, or several and none is named, or a format that is not read.
    """
    patterns = _patterns(spec, card, config)
    rows = [name for name in names if PurePosixPath(name).name not in _NOT_ROWS and not name.startswith(".")]
    if patterns is not None:
        found = [name for name in rows if any(fnmatch(name, pattern) for pattern in patterns.get(split, ()))]
        known = sorted(patterns)
    else:
        readable = [name for name in rows if name.endswith(DATA_SUFFIXES)]
        found = [name for name in readable if _names(name, split)]
        known = [word for word in _SPLIT_WORDS if any(_names(name, word) for name in readable)]
        if not known and split == "train":
            found = readable
    if not found:
        raise UserError(f"{spec} has no split {split!r}; it has {', '.join(known) or 'no files that are read'}")
    for suffix in DATA_SUFFIXES:
        if chosen := sorted(name for name in found if name.endswith(suffix)):
            return chosen
    raise UserError(
        f"{spec}: split {split!r} comes as {', '.join(sorted(found)[:3])}; only {', '.join(DATA_SUFFIXES)} are read: "
        "download it, convert it, and name it as `file:`"
    )


def _names(name: str, split: str) -> bool:
    return re.search(rf"(^|[/_.\-]){re.escape(split)}([/_.\-]|$)", name) is not None


def _patterns(spec: str, card: Mapping[str, Any], config: str | None) -> dict[str, list[str]] | None:
    """Patterns of file names by split; None when the card names none."""
    configs = {str(each.get("config_name")): each for each in card.get("configs") or () if each.get("data_files")}
    if config is not None and config not in configs:
        known = f"; it has {', '.join(configs)}" if configs else ", and its card names none"
        raise UserError(f"{spec} has no configuration {config!r}{known}")
    if not configs:
        return None
    chosen = configs.get(config or "default") or next((each for each in configs.values() if each.get("default")), None)
    if chosen is None and len(configs) > 1:
        repository, _, revision = spec.partition("@")
        example = f"{repository}:{next(iter(configs))}{'@' * bool(revision)}{revision}"
        raise UserError(f'{spec} has several configurations: {", ".join(configs)}; name one, such as "{example}"')
    entries = (chosen or next(iter(configs.values())))["data_files"]
    if isinstance(entries, str):
        return {"train": [entries]}
    patterns: dict[str, list[str]] = {}
    for entry in entries:
        split, path = ("train", entry) if isinstance(entry, str) else (entry["split"], entry["path"])
        patterns.setdefault(split, []).extend([path] if isinstance(path, str) else path)
    return patterns
