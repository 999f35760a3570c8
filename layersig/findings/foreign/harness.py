"""Reads what lm-eval writes with `--log_samples`: `samples_TASK_DATE.jsonl`, and `results_DATE.json` of the same date.

A group, such as MMLU, is compared as one task where the results say what it scores and how its tasks weigh; its tasks
are then strata. A metric that is no mean of what items gave is left out, as the results show it.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from layersig.errors import UserError
from layersig.findings.foreign.log import ItemIdentity, Log
from layersig.records import Outcome

_NAME = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[-\d.]+)\.jsonl")
_OWN = frozenset({"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter"})
"""Keys of a sample that are no metrics, for versions of lm-eval that do not list them."""
_CLOSE = 1e-6

Key = tuple[str, str]
"""Task and metric."""


class _File(NamedTuple):
    path: Path
    task: str
    date: str | None


class _Sample(NamedTuple):
    """A line: what one item gave behind one filter."""

    doc: str
    asked: ItemIdentity
    filter: str
    values: Mapping[str, Any]


def is_samples(path: Path) -> bool:
    """Whether a file is called as lm-eval calls its samples."""
    return path.name.startswith("samples_") and path.suffix == ".jsonl"


def leaves(folder: Path) -> list[Path]:
    """The folders at or below a folder that hold samples: one for every model that was evaluated into it."""
    return sorted({path.parent for path in folder.rglob("samples_*.jsonl") if path.is_file()})


def read_log(path: Path) -> Log:
    """The log of one evaluation: a folder of samples, or one file of them.

    Raises:
        UserError: A file cannot be read or is not complete, or two are of one task.
    """
    paths = sorted(path.glob("samples_*.jsonl")) if path.is_dir() else [path]
    files = [_file(each) for each in paths]
    for task, times in Counter(file.task for file in files).items():
        if times > 1:
            named = ", ".join(file.path.name for file in files if file.task == task)
            raise UserError(f"{path} holds {times} results of {task}: {named}; move all but one elsewhere")
    outcomes: list[Outcome] = []
    asked: dict[tuple[str, str], ItemIdentity] = {}
    higher: dict[Key, bool] = {}
    notes: list[str] = []
    results: dict[str | None, Mapping[str, Any]] = {}
    for file in files:
        if file.date not in results:
            results[file.date] = _results(file)
        own, known, left_out = _task(file, results[file.date])
        outcomes += own
        asked |= known
        notes += left_out
        higher |= _directions(own, results[file.date].get("higher_is_better"))
    log = Log(str(path), tuple(outcomes), asked, higher, notes=tuple(notes))
    for found in results.values():
        log = _pooled(log, found)
    return log


def _file(path: Path) -> _File:
    found = _NAME.fullmatch(path.name)
    if found is None:
        return _File(path, path.stem.removeprefix("samples_"), None)
    return _File(path, found["task"], found["date"])


def _results(file: _File) -> Mapping[str, Any]:
    """The results of the same evaluation; empty where there are none."""
    path = file.path.with_name(f"results_{file.date}.json")
    if file.date is None or not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: it is not JSON ({error}); evaluate again, or remove it") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: an object is needed, as lm-eval writes it")
    return found


def _task(
    file: _File, results: Mapping[str, Any]
) -> tuple[list[Outcome], dict[tuple[str, str], ItemIdentity], list[str]]:
    samples = list(_samples(file.path))
    if not samples:
        raise UserError(f"{file.path}: it holds no samples")
    _check_complete(file, samples, results)
    documents = {sample.doc: sample.asked.document for sample in samples}
    # Where documents differ and have digests, the digest names the item, whatever its number.
    by_digest = None not in documents.values() and len(set(documents.values())) == len(documents)
    times = Counter((sample.doc, sample.filter) for sample in samples)
    several = max(times.values()) > 1
    outcomes: list[Outcome] = []
    asked: dict[tuple[str, str], ItemIdentity] = {}
    odd: dict[str, None] = {}
    numbers: Counter[tuple[str, str]] = Counter()
    for sample in samples:
        name = documents[sample.doc] if by_digest else "/".join(filter(None, (sample.doc, sample.asked.document)))
        assert name is not None
        number = numbers[sample.doc, sample.filter]
        numbers[sample.doc, sample.filter] += 1
        item, cluster = (f"{name}#{number}", name) if several else (name, None)
        asked[file.task, item] = sample.asked
        for metric, value in sample.values.items():
            title = metric if sample.filter == "none" else f"{metric},{sample.filter}"
            measured = _measured(title, metric, value)
            if measured is None:
                odd[title] = None
            else:
                outcomes.append(Outcome(file.task, item, *measured, cluster))
    return _means(file, outcomes, asked, [*odd], results.get("results", {}).get(file.task, {}))


def _means(
    file: _File,
    outcomes: Sequence[Outcome],
    asked: dict[tuple[str, str], ItemIdentity],
    odd: Sequence[str],
    told: Mapping[str, Any],
) -> tuple[list[Outcome], dict[tuple[str, str], ItemIdentity], list[str]]:
    """The outcomes of metrics that are means of items, as far as the results tell."""
    notes = [f"{file.task}: {metric} has no number for an item and is left out" for metric in odd]
    kept: list[Outcome] = []
    for metric, own in _by_metric(outcomes).items():
        said = told.get(metric if "," in metric else f"{metric},none")
        mean = math.fsum(each.value for each in own) / len(own)
        if isinstance(said, int | float) and not math.isclose(said, mean, rel_tol=_CLOSE, abs_tol=_CLOSE):
            notes.append(f"{file.task}: {metric} is {said:.6g} in the results and no mean of items; it is left out")
        else:
            kept += own
    return kept, asked, notes


def _samples(path: Path) -> Iterator[_Sample]:
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _sample(line, f"{path}:{number}")
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: it is not UTF-8") from None


def _sample(line: str, where: str) -> _Sample:
    try:
        found = json.loads(line)
    except ValueError:
        raise UserError(f"{where}: it is not JSON; the file may be cut short: evaluate again") from None
    if not isinstance(found, dict) or not isinstance(found.get("doc_id"), int | str):
        raise UserError(f"{where}: there is no `doc_id`; a file is needed that lm-eval wrote with --log_samples")
    named = found.get("metrics")
    if not isinstance(named, list):
        named = [key for key, value in found.items() if key not in _OWN and isinstance(value, int | float)]
    values = {}
    for metric in map(str, named):
        value = values[metric] = found.get(metric)
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{where}: {metric} is {value}; evaluate again, or delete the task from both sides")
    digests = (str(found[key]) if found.get(key) else None for key in ("doc_hash", "prompt_hash", "target_hash"))
    doc = str(found["doc_id"])
    return _Sample(doc, ItemIdentity(f"doc_id {doc}", *digests), str(found.get("filter", "none")), values)


def _check_complete(file: _File, samples: Sequence[_Sample], results: Mapping[str, Any]) -> None:
    counted = (results.get("n-samples") or {}).get(file.task) or {}
    found, wanted = len({sample.doc for sample in samples}), counted.get("effective")
    if isinstance(wanted, int) and found < wanted:
        raise UserError(f"{file.path}: it holds {found} items of the {wanted} that were evaluated; it was cut short")


def _measured(title: str, metric: str, value: Any) -> tuple[str, float, float] | None:
    """Name, value and weight of what an item gave; None where that is no number.

    The log-likelihood behind a perplexity counts as a loss, in nats per byte for texts.
    """
    suffix = title.removeprefix(metric)
    if metric == "perplexity" and _is_number(value):
        return f"loss{suffix}", -float(value), 1.0
    if metric == "byte_perplexity" and isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)):
        return f"loss{suffix}", -float(value[0]) / float(value[1]), float(value[1])
    return (title, float(value), 1.0) if _is_number(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _by_metric(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    found: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        found.setdefault(outcome.metric, []).append(outcome)
    return found


def _directions(outcomes: Sequence[Outcome], said: Any) -> dict[Key, bool]:
    if not isinstance(said, dict):
        return {}
    found = {(each.task, each.metric): (said.get(each.task) or {}).get(each.metric.partition(",")[0])
             for each in outcomes}  # fmt: skip
    return {key: higher for key, higher in found.items() if isinstance(higher, bool)}


def _pooled(log: Log, results: Mapping[str, Any]) -> Log:
    """The log with the tasks of each group as one, in metrics whose value for the group the results confirm."""
    children = results.get("group_subtasks") or {}
    inner = {child for each in children.values() for child in each}
    for group in (name for name in children if children[name] and name not in inner):
        log = _with_group(log, group, _leaves(group, children), results.get("results", {}).get(group, {}))
    return log


def _leaves(group: str, children: Mapping[str, Sequence[str]]) -> list[str]:
    below = children.get(group) or ()
    return [leaf for child in below for leaf in _leaves(child, children)] if below else [group]


def _with_group(log: Log, group: str, tasks: Sequence[str], told: Mapping[str, Any]) -> Log:
    by_key: dict[Key, list[Outcome]] = {}
    for outcome in log.outcomes:
        by_key.setdefault((outcome.task, outcome.metric), []).append(outcome)
    for metric in dict.fromkeys(metric for task, metric in by_key if task in tasks):
        said = told.get(metric if "," in metric else f"{metric},none")
        parts = [by_key.get((task, metric), []) for task in tasks]
        plain = all(each.cluster is None and each.weight == 1 for part in parts for each in part)
        if not plain or not all(parts) or not isinstance(said, int | float):
            continue
        weights = _weights(parts, said)
        if weights is None:
            continue
        together = {
            id(each): replace(each, task=group, item=f"{each.task}/{each.item}", weight=weight, cluster=each.task)
            for part, weight in zip(parts, weights, strict=True)
            for each in part
        }
        # In the order of the group's tasks, and nothing of them left under their own names.
        rest = [each for each in log.outcomes if id(each) not in together]
        asked = {
            (group, f"{task}/{item}"): known._replace(shown=f"{task} {known.shown}")
            for (task, item), known in log.asked.items()
            if task in tasks
        }
        said_higher = {log.higher[task, metric] for task in tasks if (task, metric) in log.higher}
        higher = {(group, metric): said_higher.pop()} if len(said_higher) == 1 else {}
        log = replace(
            log,
            outcomes=(*rest, *together.values()),
            asked={**log.asked, **asked},
            higher={**log.higher, **higher},
            pooled=log.pooled | {group},
        )
    return log


def _weights(parts: Sequence[Sequence[Outcome]], said: float) -> list[float] | None:
    """What an item of each task weighs, 1 on average: by size, or every task alike; None where neither gives `said`."""
    means = [math.fsum(each.value for each in part) / len(part) for part in parts]
    total = sum(map(len, parts))
    for shares in ([len(part) / total for part in parts], [1 / len(parts)] * len(parts)):
        mean = math.fsum(share * value for share, value in zip(shares, means, strict=True))
        if math.isclose(mean, said, rel_tol=_CLOSE, abs_tol=_CLOSE):
            weights = [share * total / len(part) for share, part in zip(shares, parts, strict=True)]
            return [1.0 if math.isclose(weight, 1, rel_tol=1e-12) else weight for weight in weights]
    return None
