"""What the cache holds, whom it serves, and what can be freed without taking anything from a run.

A run refers to an entry by the fingerprint of a stage in its manifest. An entry can be freed if no known run refers to
it, or if every run that does has all of its files in its own folder. Known are the runs that were put on record in the
cache, and those below the folders that are given; one whose manifest cannot be read may refer to anything. Nothing is
freed that a run at work refers to, that a process has locked, or that was used a moment ago: whoever finds an entry
marks it as used, under its lock.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from layersig.jsonform import Damaged, read_json
from layersig.store.cache import Cache, EntryForm
from layersig.store.files import PART, discard
from layersig.store.known_runs import KnownRun, KnownRuns, files_of, folder_of

MOMENT = 300.0
"""Seconds after its last use in which nothing is freed: a run that has just found an entry says so in its manifest."""
_ENDED = frozenset({"complete", "complete-on-fallback"})
_FINGERPRINT = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Item:
    """Something in the cache that can be freed or not.

    Attributes:
        path: File or folder.
        fingerprint: Of its stage; None where it belongs to none.
        size: Bytes of its files.
        freed: Bytes that the disk gets back: of files that no other name refers to.
        used: When it was last used, in seconds since the epoch.
        runs: Names of the runs that refer to it.
        held: Why it is not freed; None where it may be.
    """

    path: Path
    fingerprint: str | None
    size: int
    freed: int
    used: float
    runs: tuple[str, ...]
    held: str | None

    @property
    def scratch(self) -> bool:
        """Whether it is no finished stage, but what one that did not finish has left."""
        return not _finished(self.path)


@dataclass(frozen=True)
class Use:
    """What a part of the cache is used for.

    Attributes:
        what: A run by name, or what else.
        status: Status of the run.
        stages: Number of finished stages.
        size: Bytes.
        used: When it was last used, in seconds since the epoch; None where that is not known.
    """

    what: str
    status: str
    stages: int
    size: int
    used: float | None


@dataclass(frozen=True)
class Survey:
    """What a cache holds.

    Attributes:
        root: The cache folder.
        items: Finished stages, and what unfinished ones have left.
        statuses: Status of every known run, by name.
        sources: Bytes of fetched and converted models, data and tasks, which are never freed.
        unreadable: Names of runs that may refer to anything, since their manifests cannot be read.
    """

    root: Path
    items: tuple[Item, ...]
    statuses: Mapping[str, str]
    sources: int
    unreadable: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of everything."""
        return self.sources + sum(item.size for item in self.items)

    def uses(self) -> list[Use]:
        """What the cache is used for: every run, the largest first, then what belongs to none."""
        by_run = {name: [item for item in self.items if name in item.runs] for name in self.statuses}
        found = [_use(name, self.statuses[name], items) for name, items in by_run.items() if items]
        alone = [item for item in self.items if not item.runs]
        return [
            *sorted(found, key=lambda use: -use.size),
            *(
                _use(what, "", items)
                for what, items in (
                    ("stages of no run", [item for item in alone if not item.scratch]),
                    ("scratch of stages that no run continues", [item for item in alone if item.scratch]),
                )
                if items
            ),
            *([Use("fetched models, data and tasks (never freed)", "", 0, self.sources, None)] if self.sources else []),
        ]

    def freeable(self, limit: int | None) -> list[Item]:
        """What to free: what serves no run; with a limit also, until it is kept, what runs have copies of.

        Args:
            limit: Bytes that the cache may have; None for any number.
        """
        free = [item for item in self.items if item.held is None]
        chosen = [item for item in free if not item.runs]
        left = self.size - sum(item.size for item in chosen)
        for item in sorted((item for item in free if item.runs), key=lambda item: item.used):
            if limit is None or left <= limit:
                break
            chosen.append(item)
            left -= item.size
        return chosen


def survey(cache: Cache, folders: Sequence[Path] = ()) -> Survey:
    """Look at everything in a cache.

    Args:
        cache: The cache.
        folders: Folders of runs, besides the runs on record.
    """
    runs = KnownRuns(cache, folders)
    items = [
        *(_entry(path, runs) for path in (cache.root / "stages").glob("??/*")),
        *(_unfinished(path, runs) for path in (cache.root / "work").glob("*")),
        *(_rest(path) for name in ("damaged", "removed") for path in (cache.root / name).glob("*")),
        *(_rest(path) for place in (cache.root, *_records(cache.root)) for path in place.glob(f".*{PART}")),
    ]
    return Survey(cache.root, tuple(items), runs.statuses, _size(cache.root / "sources"), runs.unreadable)


def free(cache: Cache, items: Iterable[Item]) -> list[Item]:
    """Free items of a survey; one that is locked, or that was used since, is left.

    Returns:
        What was freed.
    """
    freed = [item for item in items if _freed(cache, item)]
    gone = {item.fingerprint for item in freed}
    for record in (cache.root / "families").glob("*/*"):
        if record.name in gone:
            discard(record)
    for record in (cache.root / "runs").glob("*.json"):
        if folder_of(record) is None:
            discard(record)
    return freed


def keep_limit(cache: Cache, limit: int, runs: Path, say: Callable[[str], None]) -> None:
    """Free what may be freed where a cache is larger than a limit.

    Args:
        cache: The cache.
        limit: Bytes that it may have.
        runs: Folder of runs.
        say: Prints what was freed, and whether the cache is still too large.
    """
    found = survey(cache, [runs])
    if found.size <= limit:
        return
    freed = free(cache, found.freeable(limit))
    left = found.size - sum(item.size for item in freed)
    over = "" if left <= limit else "; that is above LAYERSIG_CACHE_LIMIT, and runs need it"
    say(f"· the cache had {found.size / 1e9:.2f} GB and has {left / 1e9:.2f} GB now{over}")


def _freed(cache: Cache, item: Item) -> bool:
    try:
        if item.fingerprint is None:
            cache.remove(item.path)
            return True
        with cache.lock(item.fingerprint).acquire(timeout=0):
            if not item.path.exists() or _used(item.path) != item.used:
                return False
            cache.remove(item.path)
            return True
    except OSError:  # another process has locked it, or it may not be removed
        return False


def _use(what: str, status: str, items: Sequence[Item]) -> Use:
    stages = sum(not item.scratch for item in items)
    return Use(what, status, stages, sum(item.size for item in items), max(item.used for item in items))


def _entry(path: Path, runs: KnownRuns) -> Item:
    referring = runs.of(path.name)
    return _item(path, path.name, referring, _why_held(path, referring) or _unknown(runs))


def _unknown(runs: KnownRuns) -> str | None:
    return f"{runs.unreadable[0]} cannot be read" if runs.unreadable else None


def _why_held(path: Path, referring: Sequence[KnownRun]) -> str | None:
    working = [run.name for run in referring if run.status == "running"]
    if working:
        return f"{working[0]} is at work"
    try:
        files = read_json(path / "stage.json", EntryForm)["files"]
    except (OSError, Damaged):
        files = {}
    lacking = [run.name for run in referring if not run.holds(path / "out", files)]
    return f"{lacking[0]} has no copy" if lacking else _recent(path)


def _unfinished(path: Path, runs: KnownRuns) -> Item:
    if not _FINGERPRINT.fullmatch(path.name):
        return _rest(path)
    waiting = [run for run in runs.of(path.name) if run.status not in _ENDED]
    return _item(
        path, path.name, waiting, f"{waiting[0].name} continues from it" if waiting else _unknown(runs) or _recent(path)
    )


def _rest(path: Path) -> Item:
    return _item(path, None, (), _recent(path))


def _item(path: Path, fingerprint: str | None, referring: Collection[KnownRun], held: str | None) -> Item:
    stats = [stat for _, stat in files_of(path)]
    freed = sum(stat.st_size for stat in stats if stat.st_nlink == 1)
    names = tuple(sorted({run.name for run in referring}))
    return Item(path, fingerprint, sum(stat.st_size for stat in stats), freed, _used(path), names, held)


def _recent(path: Path) -> str | None:
    return "it was used a moment ago" if time.time() - _used(path) < MOMENT else None


def _used(path: Path) -> float:
    """When a finished stage was last found, or anything else was last written to."""
    if _finished(path):
        with suppress(OSError):
            return (path / "stage.json").stat().st_mtime
    return max((stat.st_mtime for _, stat in files_of(path)), default=0.0)


def _finished(path: Path) -> bool:
    return path.parent.parent.name == "stages"


def _size(folder: Path) -> int:
    return sum(stat.st_size for _, stat in files_of(folder))


def _records(root: Path) -> list[Path]:
    return [root / name for name in ("declarations", "looks", "planned-costs", "plans", "runs")]
