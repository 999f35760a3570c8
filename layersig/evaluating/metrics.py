"""Metrics and a filter for written answers, registered with lm-eval: any task's YAML may name them.

- `math_answer`: 1 when the result that a response ends in equals that of the target (`layersig.probes.mathematics`).
- `rouge_l`: ROUGE-L F1 with Porter's stemmer, by the package `rouge_score`.
- `passes`: 1 when the response, as a program, and the target behind it run to their end, confined by the kernel
  (`layersig.sandbox`); in the place of lm-eval's `code_eval`, which runs programs unconfined.
- the filter `program` takes the code out of a response.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

import lm_eval.api.metrics  # noqa: F401  # registers the aggregations that are named below
from lm_eval.api.filter import Filter
from lm_eval.api.registry import register_filter, register_metric

from layersig.probes.code import Extraction, extract
from layersig.probes.mathematics import equal, final_answer
from layersig.sandbox import Execution, Limits, run

PASSES = "passes"
PROGRAM_LIMITS = Limits(seconds=30.0, memory=1 << 32)
"""30 seconds as in the paper (arXiv 2602.01997); memory for tests that use NumPy."""

_RESULT_MARKS = ("\\boxed", "\\fbox", "####")


def math_answer(references: Sequence[str], predictions: Sequence[str], **_: Any) -> float:
    """Whether a response gives the target's result; a target may be a result, or a solution that marks it."""
    target, found = references[0], final_answer(predictions[0])
    right = final_answer(target) if any(mark in target for mark in _RESULT_MARKS) else target
    return float(found is not None and right is not None and equal(found, right))


def rouge_l(references: Sequence[str], predictions: Sequence[str], **_: Any) -> float:
    """ROUGE-L F1 in [0, 1]."""
    return float(_rouge().score(references[0], predictions[0])["rougeL"].fmeasure)


@cache
def _rouge() -> Any:
    # It brings nltk, which takes a second to import.
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=True)


def passes(references: Sequence[str], predictions: Sequence[str], **_: Any) -> float:
    """Whether a program passes its tests."""
    return float(executed(predictions[0], references[0]).passed)


for _name, _metric in (("math_answer", math_answer), ("rouge_l", rouge_l), (PASSES, passes)):
    register_metric(metric=_name, higher_is_better=True, output_type="generate_until", aggregation="mean")(_metric)


@lru_cache(maxsize=2048)
def executed(program: str, tests: str) -> Execution:
    """How a program with its tests behind it ended; run once, however often it is asked for.

    Raises:
        MachineError: This machine cannot confine it.
    """
    return run(f"{program}\n{tests}\n", PROGRAM_LIMITS)


@register_filter("program")
class ProgramFilter(Filter):  # type: ignore[misc]  # lm-eval is untyped
    """The code of a response, behind the beginning that the prompt gave.

    Args:
        prefix: Field of the row that holds that beginning; None when the response is the whole program.
        opened: Whether the prompt may have left a fence open.
    """

    def __init__(self, prefix: str | None = None, opened: bool = False, **_: Any) -> None:
        self.prefix = prefix
        self.opened = opened

    def apply(self, resps: Iterable[Sequence[str]], docs: Iterable[Mapping[str, Any]]) -> list[list[str]]:
        """Programs of every response of every row."""
        return [
            [self.beginning(row) + extraction(response, self.opened).code for response in responses]
            for responses, row in zip(resps, docs, strict=True)
        ]

    def beginning(self, row: Mapping[str, Any]) -> str:
        """What the prompt gave of the program."""
        return str(row[self.prefix]) if self.prefix else ""


def extraction(response: str, opened: bool) -> Extraction:
    """The code of a response; one that opens a fence itself, although the prompt did, is taken at its word."""
    if opened and response.lstrip().startswith("```") and response.lstrip()[3:].strip():
        return extract(response)
    return extract(response, opened=opened)
