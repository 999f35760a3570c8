"""Has the untouched model seen the items of a task? Two probes, which may show that it has and never that it has not.

- min-k %: the mean log-probability of the k % least likely tokens of an item's text. Text that was trained on has few
  unlikely tokens. A value says nothing by itself; where the choices are part of the text, that with the choices in
  another order is what it is held against: of a text never seen, no order is likelier than another.
- Reordered choices: accuracy with the choices in another order. A model that knows the answers by heart loses by it.

Source:
    Shi et al. 2023, "Detecting pretraining data from large language models" (arXiv 2310.16789), for min-k %.
    Oren et al. 2023, "Proving test set contamination in black box language models" (arXiv 2310.17623), for orders that
    are exchangeable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import torch

from layersig.data.batches import micro_batches
from layersig.data.examples import Example
from layersig.evaluating.clusters import clusters_of
from layersig.evaluating.heldout import halving_of, token_losses
from layersig.evaluating.kept import packed
from layersig.evaluating.loading import ResolvedTask
from layersig.evaluating.local import LocalTask
from layersig.evaluating.model import SharedPrefixLM
from layersig.evaluating.summary import right_places
from layersig.fast.head import LOGIT_ELEMENTS
from layersig.streams import Streams

MIN_K = 0.2
"""Share of the tokens that min-k % looks at: the 20 % of Shi et al."""


class ReorderedChoices(NamedTuple):
    """A row with its choices in another order.

    Attributes:
        row: The row.
        right: Places of the right choices in it.
    """

    row: dict[str, Any]
    right: frozenset[int]


def probe(task: ResolvedTask, model: SharedPrefixLM, streams: Streams) -> list[dict[str, Any]]:
    """Probe every item of a task.

    Args:
        task: The task, which has been scored.
        model: The untouched model.
        streams: The recipe's root streams, which orders are drawn from.

    Returns:
        An object an item: `task`, `item`, `cluster`, `tokens`, `min_k` (nats per token); and, where the choices are
        shown to the model, `min_k_reordered`, `acc` and `acc_reordered`.
    """
    return [line for part in task.parts for line in _part(task, part, model, streams)]


def _part(task: ResolvedTask, part: LocalTask, model: SharedPrefixLM, streams: Streams) -> Iterator[dict[str, Any]]:
    rows, items = list(part.eval_docs), task.items(part)
    label = task.label(part)
    clusters = [str(part.config.task)] * len(rows) if task.subject_of(part) is not None else clusters_of(part)
    others = [
        reordered(part, row, streams.generator("memorisation", label, item))
        for row, item in zip(rows, items, strict=True)
    ]
    texts = [
        part.text_of(row) if other is None else _question(part, row) for row, other in zip(rows, others, strict=True)
    ]
    shown = [None if other is None else _question(part, other.row) for other in others]
    scores = iter(min_k(model, [*texts, *(text for text in shown if text is not None)]))
    plain = [next(scores) for _ in rows]
    moved = [None if text is None else next(scores) for text in shown]
    right = list(_right(part, model, rows, others))
    for number, item in enumerate(items):
        line: dict[str, Any] = {"task": label, "item": item, **plain[number]._asdict()}
        if (cluster := clusters[number]) is not None:
            line["cluster"] = cluster
        if (found := moved[number]) is not None:
            line["min_k_reordered"] = found.min_k
            line["acc"], line["acc_reordered"] = right[number]
        yield line


def _question(part: LocalTask, row: dict[str, Any]) -> str:
    return str(part.doc_to_text(row))


def _right(
    part: LocalTask, model: SharedPrefixLM, rows: Sequence[dict[str, Any]], others: Sequence[ReorderedChoices | None]
) -> Iterator[tuple[float, float]]:
    """Whether each row is answered right as it is and reordered; zeros where it cannot be reordered."""
    if not any(others):
        yield from [(0.0, 0.0)] * len(rows)
        return
    turned = [row if other is None else other.row for row, other in zip(rows, others, strict=True)]
    asked = [*part.requests_of(turned), *part.requests_of(rows)]  # the last ones leave the task as it was scored
    answers = iter(model.loglikelihood([request for requests in asked for request in requests]))
    chosen = []
    for requests, row in zip(asked, [*turned, *rows], strict=True):
        likelihoods = [next(answers)[0] for _ in requests]
        chosen.append(int(np.argmax(likelihoods[: len(part.doc_to_choice(row))])))
    for number, (row, other) in enumerate(zip(rows, others, strict=True)):
        own = right_places(part.doc_to_choice(row), part.doc_to_target(row))
        moved = own if other is None else other.right
        yield float(chosen[len(rows) + number] in own), float(chosen[number] in moved)


def reordered(part: LocalTask, row: dict[str, Any], rng: np.random.Generator) -> ReorderedChoices | None:
    """A row with its choices in another order, drawn at random; None where the model is not shown them as a list.

    The choices are the list of the row that the question shows and that has an entry for every answer. Answers are
    either the entries, which move with them, or labels of their places (A, B, C, D), which stay.
    """
    if part.OUTPUT_TYPE != "multiple_choice" or part.multiple_input:
        return None
    answers, question = [str(each) for each in part.doc_to_choice(row)], _question(part, row)
    if len(answers) < 2:
        return None
    right = right_places(part.doc_to_choice(row), part.doc_to_target(row))
    order = _order(len(answers), rng)
    for path, values in _lists(row, answers):
        if not all(str(value) in question for value in values):
            continue
        other = _replaced(row, path, [values[place] for place in order])
        moved = [str(each) for each in part.doc_to_choice(other)]
        stays, goes_along = moved == answers, moved == [answers[place] for place in order]
        if (stays or goes_along) and _question(part, other) != question:
            return ReorderedChoices(other, frozenset(order.index(place) for place in right))
    return None


def _order(count: int, rng: np.random.Generator) -> list[int]:
    """An order that is not the present one, all others being equally likely."""
    while (order := rng.permutation(count).tolist()) == list(range(count)):
        continue
    return [int(place) for place in order]


def _lists(row: Mapping[str, Any], answers: Sequence[str]) -> list[tuple[tuple[str, ...], list[Any]]]:
    """Lists of a row, or of a table in it, as long as the answers; labels of places come last."""
    found: list[tuple[tuple[str, ...], list[Any]]] = []
    for key, value in row.items():
        inner = value.items() if isinstance(value, Mapping) else [("", value)]
        for name, each in inner:
            if isinstance(each, list) and len(each) == len(answers) and len(set(map(str, each))) == len(each):
                found.append(((key, name) if name else (key,), each))
    return sorted(found, key=lambda entry: all(len(str(value)) == 1 for value in entry[1]))


def _replaced(row: Mapping[str, Any], path: Sequence[str], values: list[Any]) -> dict[str, Any]:
    first, rest = path[0], path[1:]
    return {**row, first: _replaced(row[first], rest, values) if rest else values}


class MinK(NamedTuple):
    """What min-k % gives for a text.

    Attributes:
        min_k: Mean log-probability of its least likely tokens, in nats.
        tokens: Tokens that were predicted.
    """

    min_k: float
    tokens: int


def min_k(model: SharedPrefixLM, texts: Sequence[str], k: float = MIN_K) -> list[MinK]:
    """Mean log-probability of the least likely tokens of each text.

    A text follows the token that stands for an empty context, and ends where the model's context does.

    Args:
        model: The model.
        texts: Any texts.
        k: Share of the tokens to look at; at least one token is.
    """
    examples = [_example(model, text) for text in texts]
    budget = min(model.batch_tokens, LOGIT_ELEMENTS // model.decoder.model.config.get_text_config().vocab_size)
    halving = halving_of(model.decoder.model, examples)

    def read(batch: Sequence[int]) -> list[MinK]:
        losses = token_losses(model.decoder.model, [examples[index] for index in batch], fast=model.decoder.fast)
        return [_least_likely(tokens, k) for tokens in losses]

    known = model.kept.round(packed(example.tokens.tolist()) for example in examples)
    found = {index: MinK(*value) for index, value in known.known.items()}
    for batch in micro_batches([len(example) for example in examples], range(len(examples)), budget):
        if not known.has(batch):
            own = dict(zip(batch, chain.from_iterable(halving.run(read, batch)), strict=True))
            known.keep(own, sum(each.tokens for each in own.values()))
            found |= own
    model.tokens += sum(each.tokens for each in found.values())
    return [found[index] for index in range(len(texts))]


def _least_likely(losses: torch.Tensor, k: float) -> MinK:
    least = torch.topk(losses, ceil(k * len(losses))).values
    return MinK(-float(least.mean()), len(losses))


def _example(model: SharedPrefixLM, text: str) -> Example:
    tokens = model.tok_encode(text, add_special_tokens=False)[: model.max_length - 1] or [model.eot_token_id]
    ids = np.array([model.prefix_token_id, *tokens], np.int32)
    targets = np.ones(len(ids), np.bool_)
    targets[0] = False
    return Example("", "", ids, targets)
