"""Per-item results from elsewhere as arms: which runs belong to which, and whether they were asked the same items."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from layersig.errors import UserError, first_few
from layersig.findings.contrasts import Contrast, contrast
from layersig.findings.foreign.harness import is_samples, leaves, read_log
from layersig.findings.foreign.log import ItemIdentity, Log
from layersig.findings.foreign.table import is_table, read_runs
from layersig.findings.outcomes import Measure, OutcomeTables, outcome_tables
from layersig.findings.pairing import pairing_notes
from layersig.recipe.schema import BASE
from layersig.records import Cell

NOT_STATED = "a base model that is not stated"
"""What sentences say in place of the base model: these files do not tell."""
_DATA = "(not stated)"
_UNTOUCHED = f"; call it {BASE}, as {BASE}=PATH, if it is the untouched model"
_SEED = re.compile(r"(?:^|[^a-z])seed[-_=]?(\d+)", re.IGNORECASE)
_MOST_NAMED = 5

Key = tuple[str, str]
"""Task and metric."""


@dataclass(frozen=True)
class Arm:
    """An arm and its training runs.

    Attributes:
        label: What it is called.
        runs: The log of each run by seed; the one of an arm without seeds under None.
    """

    label: str
    runs: Mapping[int | None, Log]


@dataclass(frozen=True)
class Foreign:
    """Arms of per-item results that layersig did not write.

    Attributes:
        tables: Their outcomes; an arm is a cell with its seed.
        arms: Labels of the arms, the reference first.
        notes: What was left out or taken for granted.
    """

    tables: OutcomeTables
    arms: tuple[str, ...]
    notes: tuple[str, ...]

    def contrasts(self) -> list[Contrast]:
        """Every other arm minus the first, on every measure that both have."""
        reference, *others = self.arms
        found = [
            replace(pair, data=_DATA)
            for other in others
            for measure in self.tables.values
            if (pair := contrast(self.tables, measure, None, other, reference)) is not None
        ]
        if not found:
            raise UserError(f"{reference} has no seed in common with {' or '.join(others)}; name their runs alike")
        return found


def is_foreign(name: str, runs: Path) -> bool:
    """Whether a name of `layersig compare` means a file or folder that is no run of layersig.

    Args:
        name: The name.
        runs: Folder of all runs.
    """
    path = _path(name)
    is_run = (path / "manifest.json").exists() or (not path.is_absolute() and (runs / name).is_dir())
    return path.is_file() or is_table(path) or is_samples(path) or (path.is_dir() and not is_run)


def foreign(names: Sequence[str], runs: Path) -> Foreign:
    """The arms that `PATH`, `LABEL=PATH` or `TABLE:ARM` mean, matched item by item.

    A label given several times collects the runs of one arm.

    Args:
        names: Names as `layersig compare` takes them.
        runs: Folder of all runs, of which none can be meant.

    Raises:
        UserError: A file cannot be read, fewer than two arms are there, or they were not asked the same items.
    """
    if odd := [name for name in names if not is_foreign(name, runs)]:
        raise UserError(
            f"{odd[0]}: there is no such file or folder of per-item results, and runs are not compared with such"
        )
    given: dict[str, list[str]] = {}
    for name in names:
        given.setdefault(_label(name), []).append(name)
    arms = [arm for label, paths in given.items() for arm in _arms(label, paths)]
    labels = [arm.label for arm in arms]
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise UserError(f"two arms are called {twice[0]!r}; call one of them otherwise, as LABEL=PATH")
    if len(arms) < 2:
        raise UserError(f"{' '.join(names)}: only one arm, {labels[0]!r}, is there; at least two can be compared")
    shared, notes = _shared(arms)
    cells = [(Cell(arm=arm.label, seed=seed), log) for arm in arms for seed, log in arm.runs.items()]
    notes += _check_items(cells, shared)
    tables = outcome_tables(
        [(cell, [each for each in log.outcomes if (each.task, each.metric) in shared]) for cell, log in cells],
        {Measure(*key): higher for _, log in cells for key, higher in log.higher.items()},
        {task for _, log in cells for task in log.pooled},
    )
    notes += [note for _, log in cells for note in log.notes]
    untouched = frozenset(arm.label for arm in arms if Path(arm.label).stem == BASE and None in arm.runs)
    notes += [f"{label} is taken for the untouched model, by its name" for label in sorted(untouched)]
    notes += pairing_notes({arm.label: tuple(arm.runs) for arm in arms}, untouched, _UNTOUCHED)
    return Foreign(replace(tables, untouched=untouched), tuple(labels), tuple(dict.fromkeys(notes)))


def _label(name: str) -> str:
    label, mark, _ = name.partition("=")
    return label if mark and not Path(name).exists() else name


def _path(name: str) -> Path:
    if Path(name).exists():
        return Path(name)
    bare = name.partition("=")[2] or name
    table, mark, _ = bare.rpartition(":")
    return Path(table) if mark and not Path(bare).exists() and is_table(Path(table)) else Path(bare)


def _arms(label: str, names: Sequence[str]) -> Iterator[Arm]:
    if any(is_table(_path(name)) for name in names):
        if len(names) > 1:
            raise UserError(f"{label}: a table holds all runs of its arms, in a column `seed`; give it once")
        yield from _arms_of_table(label, names[0])
        return
    paths = [each for name in names for each in _evaluations(_path(name))]
    if len(paths) == 1:
        yield Arm(label, {None: read_log(paths[0])})
        return
    seeds = _seeds(paths)
    if seeds is None and len(names) < len(paths):
        found = ", ".join(map(str, paths[:_MOST_NAMED]))
        raise UserError(
            f"{label} holds {len(paths)} evaluations: {found}. If they are arms, name each; if they are runs of one "
            "arm, call their folders seed-0, seed-1, ..., or give each as LABEL=PATH with the same label"
        )
    yield Arm(label, dict(zip(range(len(paths)) if seeds is None else seeds, map(read_log, paths), strict=True)))


def _arms_of_table(label: str, name: str) -> Iterator[Arm]:
    path = _path(name)
    wanted = name.rpartition(":")[2] if not name.endswith(str(path)) else None
    by_arm: dict[str | None, dict[int | None, Log]] = {}
    for (arm, seed), log in read_runs(path).items():
        by_arm.setdefault(arm, {})[seed] = log
    for arm, runs in by_arm.items():
        if None in runs and len(runs) > 1:
            raise UserError(f"{path}: {arm or label}: some rows have a seed and some have none")
    if wanted is not None and wanted not in by_arm:
        raise UserError(f"{path} has no arm {wanted!r}; it has: {', '.join(each or label for each in by_arm)}")
    for arm, runs in by_arm.items():
        if wanted is None or arm == wanted:
            named = label != name and (arm is None or wanted is not None)
            yield Arm(label if named or arm is None else arm, runs)


def _evaluations(path: Path) -> list[Path]:
    if not path.is_dir():
        if not is_samples(path):
            raise UserError(f"{path} is neither a run, nor samples_*.jsonl of lm-eval, nor a CSV or TSV file")
        return [path]
    found = leaves(path)
    if not found:
        raise UserError(f"{path}: it holds no samples_*.jsonl; run lm-eval with --log_samples and --output_path")
    return found


def _seeds(paths: Sequence[Path]) -> list[int] | None:
    """The seeds that the names of folders tell; None where not each has one of its own."""
    found = [_SEED.findall(str(path)) for path in paths]
    seeds = [int(each[-1]) for each in found if each]
    return seeds if len(seeds) == len(paths) == len(set(seeds)) else None


def _shared(arms: Sequence[Arm]) -> tuple[set[Key], list[str]]:
    """Tasks and metrics that the first arm shares with another, in every run, and what is left out."""
    having: dict[str, set[Key]] = {}
    for arm in arms:
        first, *rest = (set(log.items) for log in arm.runs.values())
        having[arm.label] = first.intersection(*rest)
    reference, *others = (having[arm.label] for arm in arms)
    shared = reference & set().union(*others)
    if not shared:
        told = "; ".join(
            f"{label} has {first_few(sorted(f'{metric} of {task}' for task, metric in keys), _MOST_NAMED) or 'nothing'}"
            for label, keys in having.items()
        )
        raise UserError(f"the arms have no metric of a task in common: {told}")
    notes = [
        f"{metric} of {task}: only {' and '.join(label for label in having if (task, metric) in having[label])}"
        " has it; it is left out"
        for task, metric in sorted(set().union(*having.values()) - shared)
    ]
    return shared, notes


def _check_items(cells: Sequence[tuple[Cell, Log]], shared: set[Key]) -> list[str]:
    """Refuse evaluations of other items than the first one's; tells of other prompts."""
    notes = []
    (first, reference), *others = cells
    known = reference.items
    for cell, log in others:
        items = log.items
        for key in sorted(shared & set(items)):
            _check_same(key[0], (first, reference, known[key]), (cell, log, items[key]))
            told = _other_prompts(key[0], reference, log, items[key])
            if told is not None:
                notes.append(f"{cell.key} and {first.key}: {told}")
    return notes


_Measured = tuple[Cell, Log, Mapping[str, None]]


def _check_same(task: str, ours: _Measured, theirs: _Measured) -> None:
    for (cell, log, items), (other, _, others) in ((ours, theirs), (theirs, ours)):
        missing = [log.asked[task, item].shown for item in items if item not in others]
        if missing:
            raise UserError(
                f"{theirs[0].key} and {ours[0].key} were not measured on the same items of {task}: "
                f"{len(missing)} of {len(items)} in {cell.key} are not in {other.key} "
                f"({first_few(missing, _MOST_NAMED)}).{_renumbered(task, ours, theirs)} Evaluate both on the same items"
            )
    (cell, log, items), (other, other_log, _) = ours, theirs
    differing = [
        log.asked[task, item].shown
        for item in items
        if _differ(log.asked[task, item], other_log.asked[task, item], lambda asked: asked.target)
    ]
    if differing:
        raise UserError(
            f"{other.key} and {cell.key} have other right answers to {len(differing)} of {len(items)} items of {task} "
            f"({first_few(differing, _MOST_NAMED)}); evaluate both with the same version of the task"
        )


def _renumbered(task: str, ours: _Measured, theirs: _Measured) -> str:
    """Items of one number whose documents differ, as a sentence."""
    one, other = (
        {log.asked[task, item].shown: log.asked[task, item].document for item in items}
        for _, log, items in (ours, theirs)
    )
    changed = [shown for shown, document in one.items() if shown in other and other[shown] != document]
    return f" Under the same number lie other documents: {first_few(changed, _MOST_NAMED)}." if changed else ""


def _other_prompts(task: str, reference: Log, log: Log, items: Mapping[str, None]) -> str | None:
    other = sum(
        _differ(reference.asked[task, item], log.asked[task, item], lambda asked: asked.prompt) for item in items
    )
    if not other:
        return None
    return (
        f"{other} of {len(items)} items of {task} were asked with other prompts, so that their difference is one of "
        "models and prompts together"
    )


def _differ(one: ItemIdentity, other: ItemIdentity, of: Callable[[ItemIdentity], str | None]) -> bool:
    return None not in (of(one), of(other)) and of(one) != of(other)
