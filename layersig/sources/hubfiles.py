"""Which files of a hub data set hold a split: as its card says, else by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from layersig.errors import UserError
from layersig.sources.files import DATA_SUFFIXES
from layersig.sources.source import Warn, log_warning

_SPLIT_WORDS = ("train", "test", "validation", "valid", "val", "dev", "eval")
_NOT_ROWS = ("dataset_infos.json", "dataset_info.json", "state.json")


def files_of_split(
    spec: str,
    names: Sequence[str],
    split: str,
    card: Mapping[str, Any],
    config: str | None = None,
    warn: Warn = log_warning,
) -> list[str]:
    """Names of the files of a split, sorted.

    The `configs` of the card decide, where it has any: the one that is named, else the default one. Where it names a
    folder (`data_dir`), no other files count. Unless it names files too, a file belongs to the split whose name stands
    between separators in its own, as the hub itself reads it; where files name no split at all, they are one `train`
    split. Where a split comes in several formats, parquet wins.

    Args:
        spec: How the recipe names the data set, for messages.
        names: All files of the repository.
        split: The split asked for.
        card: Metadata of the repository's card.
        config: Name of the configuration; None for the default one.
        warn: Told of files of another format that are no copies of those that are read.

    Raises:
        UserError: There is no such split or configuration, or several and none is named, or a format that is not read.
    """
    chosen = _configuration(spec, card, config)
    patterns = _patterns(chosen)
    folder = "".join(f"{part}/" for part in PurePosixPath(chosen.get("data_dir") or "").parts)
    rows = [
        name.removeprefix(folder)
        for name in names
        if name.startswith(folder) and PurePosixPath(name).name not in _NOT_ROWS and not name.startswith(".")
    ]
    if patterns is not None:
        asked = [PurePosixPath(pattern).parts for pattern in patterns.get(split, ())]
        found = [name for name in rows if any(_fits(PurePosixPath(name).parts, pattern) for pattern in asked)]
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
        if read := sorted(name for name in found if name.endswith(suffix)):
            copied = {_stem(name) for name in read}
            others = [name for name in found if name.endswith(DATA_SUFFIXES) and _stem(name) not in copied]
            if others:
                warn(
                    f"{spec}: split {split!r} is read from {', '.join(read[:3])}; {', '.join(sorted(others)[:3])} of "
                    "another format is not: if it holds further rows, download them all and name them as one `file:`"
                )
            return [f"{folder}{name}" for name in read]
    raise UserError(
        f"{spec}: split {split!r} comes as {', '.join(sorted(found)[:3])}; only {', '.join(DATA_SUFFIXES)} are read: "
        "download it, convert it, and name it as `file:`"
    )


def _names(name: str, split: str) -> bool:
    return re.search(rf"(^|[/_.\-]){re.escape(split)}([/_.\-]|$)", name) is not None


def _stem(name: str) -> str:
    """What copies of a file in other formats are called as well."""
    return re.sub(r"-\d+-of-\d+$", "", PurePosixPath(name).stem)


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path fits a pattern as the hub reads it: `*` stays within a folder, `**` is any number of folders."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_fits(parts[skipped:], pattern[1:]) for skipped in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])


def _configuration(spec: str, card: Mapping[str, Any], config: str | None) -> Mapping[str, Any]:
    """The configuration that is named, else the default or the only one; empty when the card says nothing of files."""
    configs: dict[str, Mapping[str, Any]] = {
        str(each.get("config_name")): each
        for each in card.get("configs") or ()
        if each.get("data_files") or each.get("data_dir")
    }
    if config is not None and config not in configs:
        known = f"; it has {', '.join(configs)}" if configs else ", and its card names none"
        raise UserError(f"{spec} has no configuration {config!r}{known}")
    if not configs:
        return {}
    chosen = configs.get(config or "default") or next((each for each in configs.values() if each.get("default")), None)
    if chosen is None and len(configs) > 1:
        repository, _, revision = spec.partition("@")
        example = f"{repository}:{next(iter(configs))}{'@' * bool(revision)}{revision}"
        raise UserError(f'{spec} has several configurations: {", ".join(configs)}; name one, such as "{example}"')
    return chosen or next(iter(configs.values()))


def _patterns(config: Mapping[str, Any]) -> dict[str, list[str]] | None:
    """Patterns of file names by split; None when the configuration has none."""
    entries = config.get("data_files")
    if not entries:
        return None
    if isinstance(entries, str):
        return {"train": [entries]}
    patterns: dict[str, list[str]] = {}
    for entry in entries:
        split, path = ("train", entry) if isinstance(entry, str) else (entry["split"], entry["path"])
        patterns.setdefault(split, []).extend([path] if isinstance(path, str) else path)
    return patterns
