"""What a model wrote in a task, item by item, with what the probes see in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from layersig.evaluating.loading import ResolvedTask
from layersig.evaluating.local import LocalTask
from layersig.evaluating.metrics import executed, extraction
from layersig.probes.code import Ending, error_of, paper_error_of
from layersig.probes.degeneration import degeneration


def response_lines(
    task: ResolvedTask, part: LocalTask, samples: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """A line of `responses.jsonl` for every item of a task in which the model writes; none for other tasks.

    `task`, `item`; `question` (without few-shot examples) and `target`; `response` up to the stop string; `scores` by
    metric, as in `items.jsonl`; `probes`, see `degeneration`; for tasks that run code, `code`: whether the code stood
    in a fence (`fenced`) that was closed (`closed`), how it ended (`ended`, `exception`, `message`), and what was
    wrong (`error`; `paper_error` in the taxonomy of the paper).

    Args:
        task: The task.
        part: One of its parts.
        samples: What lm-eval logged of it, a sample an item and filter.
    """
    if part.OUTPUT_TYPE != "generate_until":
        return
    items, rows = task.items(part), list(part.eval_docs)
    by_item: dict[int, list[Mapping[str, Any]]] = {}
    for sample in samples:
        by_item.setdefault(int(sample["doc_id"]), []).append(sample)
    for number, found in sorted(by_item.items()):
        response = str(found[0]["resps"][0][0])
        line: dict[str, Any] = {
            "task": task.label(part),
            "item": items[number],
            "question": str(part.doc_to_text(rows[number])),
            "target": found[0]["target"],
            "response": response,
            "scores": {
                metric + ("" if sample["filter"] == "none" else f",{sample['filter']}"): sample[metric]
                for sample in found
                for metric in sample["metrics"]
                if isinstance(sample[metric], int | float)
            },
            "probes": degeneration(response),
        }
        if part.runs_code:
            line["code"] = _code(part, response, found[0])
        yield line


def _code(part: LocalTask, response: str, sample: Mapping[str, Any]) -> dict[str, Any]:
    program = str(sample["filtered_resps"][0])
    ended = executed(program, str(sample["target"]))
    taken = extraction(response, _opened(part))
    ending = Ending(ended.ended, ended.kinds, ended.message)
    return {
        "fenced": taken.fenced,
        "closed": taken.closed,
        "ended": ended.ended,
        "exception": ended.kinds[0] if ended.kinds else None,
        "message": ended.message,
        "error": error_of(taken, ending),
        "paper_error": paper_error_of(ending),
    }


def _opened(part: LocalTask) -> bool:
    """Whether the task's own filter takes the prompt to have left a fence open."""
    return any(each.get("opened") for entry in part.config.filter_list or () for each in entry["filter"])
