"""Names of metrics: those that a recipe may give margins for, and those that are shares of items."""

from __future__ import annotations

from collections.abc import Iterable

SHARES = frozenset({"acc", "acc_norm", "exact_match", "math_answer", "passes", "preference_accuracy"})
"""Each item is right or wrong; shown in percent, compared in points."""
OWN = frozenset(
    {
        "judge_score",
        "loss",
        "math_answer",
        "passes",
        "preference_accuracy",
        "preference_loss",
        "preference_margin",
        "rouge_l",
    }
)
"""Metrics that layersig computes itself."""
REGISTERED = frozenset(
    {
        "acc",
        "acc_all",
        "acc_bytes",
        "acc_mutual_info",
        "acc_norm",
        "bits_per_byte",
        "bleu",
        "brier_score",
        "byte_perplexity",
        "chrf",
        "chrf++",
        "exact_match",
        "f1",
        "likelihood",
        "mcc",
        "perplexity",
        "ter",
        "word_perplexity",
    }
)
"""Metrics that lm-eval registers by name; task definitions may add others."""
KNOWN = OWN | REGISTERED
UP_TO_ONE = SHARES | {"acc_all", "acc_bytes", "acc_mutual_info", "f1", "rouge_l"}
"""Metrics that never exceed 1, so that a margin of 1 or more must be in another unit."""
PRIMARY = ("preference_loss", "loss", "passes", "math_answer", "exact_match", "rouge_l", "acc_norm", "acc")
"""Metrics that speak for their task, the first that there is."""


def kind_of(metric: str) -> str:
    """A metric without lm-eval's filter suffix, as in `exact_match,strict-match`, and without `@k`."""
    return metric.partition(",")[0].partition("@")[0].strip()


def primary_of(metrics: Iterable[str]) -> str | None:
    """The metric that speaks for its task: the first of `PRIMARY`, else the first by name; None where there is none.

    Of a metric under several filters it is the first by name.
    """
    names = sorted(metrics)
    known = (name for kind in PRIMARY for name in names if kind_of(name) == kind)
    return next(known, next(iter(names), None))


def at_k(metric: str, k: int) -> str:
    """The name of pass@k of a metric, as in `exact_match@10,strict-match`."""
    name, comma, behind = metric.partition(",")
    return f"{name}@{k}{comma}{behind}"
