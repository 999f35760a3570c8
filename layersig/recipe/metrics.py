"""Names of metrics: those that a recipe may give margins for, and those that are shares of items."""

from __future__ import annotations

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


def kind_of(metric: str) -> str:
    """A metric without lm-eval's filter suffix, as in `exact_match,strict-match`, and without `@k`."""
    return metric.partition(",")[0].partition("@")[0].strip()


def at_k(metric: str, k: int) -> str:
    """The name of pass@k of a metric, as in `exact_match@10,strict-match`."""
    name, comma, behind = metric.partition(",")
    return f"{name}@{k}{comma}{behind}"
