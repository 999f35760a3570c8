"""Passes of evaluations: held-out conversations, and the requests of tasks with what they share run once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from layersig.pipeline import Stage
from layersig.planning.facts import Facts
from layersig.planning.passes import Passes, uncounted
from layersig.streams import Streams

if TYPE_CHECKING:
    from layersig.evaluating.loading import ResolvedTask


class EvaluationCount(NamedTuple):
    """The amount of work of a task.

    Attributes:
        items: Number of scored items.
        read: Tokens that are read in forward passes.
        written: Largest number of tokens that are generated.
        lines: Number of outcomes, one for every item and metric.
        metrics: Names of the metrics.
        by_name: Items by the name of their task in results.
    """

    items: int
    read: float
    written: float
    lines: int
    metrics: tuple[str, ...]
    by_name: Mapping[str, int]


def evaluated(facts: Facts, stage: Stage) -> Passes:
    """Passes of an evaluation: of an arm that a live adapter makes a little slower, or of the untouched model."""
    heldout, lacking = 0.0, []
    objective = (stage.params.get("objective") or {"name": "sft"})["name"]
    for role in stage.inputs:
        if role.startswith("data/"):
            sides = facts.sides(role.removeprefix("data/"), "heldout", objective)
            if sides is None:
                lacking.append(f"the held-out conversations of {role.removeprefix('data/')}")
            else:
                heldout += float(sum(side.lengths.sum() for side in sides))
    tokens, written, why = task_tokens(facts, stage.params["tasks"], lambda number: f"source/task/{number}")
    if why is not None:
        lacking.append(why)
    read = heldout + (tokens or 0.0)
    adapted = facts.share_of(stage.cell.arm or "") if "adapter" in stage.inputs else 0.0
    unknown = "; ".join(lacking) or None
    by_kind = {"evaluate": read, "gate": adapted * read, "write": written}
    return Passes(None if lacking else read + written, by_kind=by_kind, at_most=written > 0, unknown=unknown)


def untouched(facts: Facts, stage: Stage) -> Passes:
    """Passes over the responses of pairs by the untouched model."""
    data, split = stage.cell.data or "", stage.params["split"]
    sides = facts.sides(data, split, facts.recipe.train.objective)
    if sides is None:
        return uncounted(f"the lengths of the pairs in {data}")
    tokens = float(sum(side.lengths.sum() for side in sides))
    return Passes(tokens, by_kind={"evaluate": tokens})


def task_tokens(
    facts: Facts, tasks: Sequence[Mapping[str, Any]], node: Callable[[int], str]
) -> tuple[float | None, float, str | None]:
    """Tokens that tasks read and may write, with floors and all draws, and what is not known of them."""
    read, written, lacking = 0.0, 0.0, []
    for number, task in enumerate(tasks):
        asked = asked_by(facts, task, node(number))
        if asked is None:
            lacking.append(f"the items of {task['source']}")
            continue
        times = 2 if task.get("floor") else 1
        draws = max(1, task.get("draws") or 1) if asked.written else 1
        read, written = read + times * draws * asked.read, written + times * draws * asked.written
    return (None if lacking and not read else read), written, "; ".join(lacking) or None


def asked_by(facts: Facts, task: Mapping[str, Any], node: str) -> EvaluationCount | None:
    """What a task asks of the model; None where it is not counted, or lacks rows or a tokenizer on this machine."""
    source = facts.known.sources.get(node)
    if not facts.counts_tasks or source is None or facts.model is None or facts.shapes is None:
        return None
    settings = tuple(sorted((key, str(value)) for key, value in task.items()))
    return _asked(settings, source.path, facts.model, facts.shapes.pair_cost, facts.recipe.root_seed)


@lru_cache
def _asked(
    settings: tuple[tuple[str, str], ...], rows: Path, model: Path, pair_cost: float, root: int
) -> EvaluationCount:
    from layersig.evaluating.loading import load_task
    from layersig.models.load import load_tokenizer
    from layersig.recipe.schema import TaskSettings

    entry: dict[str, Any] = dict(settings)
    numbers = {key: None if entry[key] == "None" else int(entry[key]) for key in ("shots", "limit") if key in entry}
    task = load_task(TaskSettings(source=entry["source"], **numbers), rows, Streams(root))  # type: ignore[arg-type]
    return _count(task, load_tokenizer(model), pair_cost)


def _count(task: ResolvedTask, tokenizer: Any, pair_cost: float) -> EvaluationCount:
    from layersig.fast.sharing import ScoredSequence, plan

    items, lines, read, written = 0, 0, 0.0, 0.0
    metrics: dict[str, None] = {}
    by_name: dict[str, int] = {}
    for part in task.parts:
        part.build_all_requests()
        chosen = len(part.chosen or ())
        items += chosen
        by_name[task.label(part)] = by_name.get(task.label(part), 0) + chosen
        own = [str(each["metric"]) for each in part.config.metric_list or ()]
        metrics.update(dict.fromkeys(own))
        lines += chosen * max(1, len(own))
        scored = []
        for request in part.instances:
            if request.request_type == "loglikelihood":
                context, continuation = request.args
                whole = tokenizer(context + continuation)["input_ids"]
                start = len(tokenizer(context.rstrip() or continuation)["input_ids"])
                scored.append(ScoredSequence(tuple(whole[:-1]), tuple(whole[min(start, len(whole) - 1) :])))
            else:
                read += len(tokenizer(request.args[0])["input_ids"])
            if request.request_type == "generate_until":
                written += request.args[1].get("max_gen_toks", 256)
        read += sum(family.tokens for family in plan(scored, pair_cost))
    return EvaluationCount(items, read, written, lines, tuple(metrics), by_name)
