"""Log-likelihoods of continuations, in batches of requests that share what they have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from layersig.errors import StageFailed, UserError
from layersig.evaluating.kept import Round
from layersig.fast.decoder import Decoder, Trunk, positions
from layersig.fast.sharing import Row, ScoredSequence, batches, lines, plan

Answer = tuple[float, bool]
"""Log-likelihood of a continuation, and whether greedy decoding would write it."""


class TokenRequest(NamedTuple):
    """A request as lm-eval's `TemplateLM` hands it on: its text (None for a window of a document) and its tokens."""

    text: tuple[str, str] | None
    context: list[int]
    continuation: list[int]


@dataclass(frozen=True)
class LikelihoodReader:
    """Reads the log-likelihoods of requests off a model.

    Attributes:
        decoder: Runs the model.
        batch_tokens: Padded tokens that go through the model at once.
        max_length: Longest input in tokens; longer ones lose their beginning.
        done: Told of requests and tokens done.
    """

    decoder: Decoder
    batch_tokens: int
    max_length: int
    done: Callable[[int, int], None]

    def cut(self, request: TokenRequest) -> bool:
        """Whether a request loses the beginning of its context."""
        return len(request.context) + len(request.continuation) > self.max_length + 1

    def answers(self, asked: Sequence[TokenRequest], kept: Round) -> Iterator[tuple[int, Answer]]:
        """The answer to every request, with its index, as soon as it is there.

        Args:
            asked: The requests.
            kept: What is known of them; it takes what is found.

        Raises:
            UserError: A request lacks a context or a continuation, or its continuation is too long.
            StageFailed: The model gives NaN or infinite log-likelihoods.
        """
        yield from ((index, (likelihood, greedy)) for index, (likelihood, greedy) in kept.known.items())
        self.done(len(kept.known), kept.tokens)
        families = plan([self._scored(request) for request in asked], self.decoder.pair_cost, self.decoder.shares)
        for family in families:
            if kept.has(index for row in family.rows for index in _indices(row)):
                continue
            trunk = self.decoder.trunk(family.trunk) if family.trunk else None
            tokens = len(family.trunk)
            self.done(0, tokens)
            with self.decoder.scoring() as lanes:
                # A known batch keeps its place: a lone one would be run with the threads of all lanes.
                def read(batch: Sequence[Row], trunk: Trunk | None = trunk) -> list[tuple[int, Answer]]:
                    if kept.has(index for row in batch for index in _indices(row)):
                        return []
                    return _read(batch, self.decoder.logits(batch, trunk), asked)

                cut = self._batches(family.rows, lanes.count)
                for batch, found in zip(cut, lanes.run(read, cut), strict=True):
                    if not found:
                        continue
                    own = sum(map(len, batch))
                    kept.keep(dict(found), tokens + own)
                    tokens = 0
                    yield from found
                    self.done(sum(len(row.readings) for row in batch), own)

    def _batches(self, rows: Sequence[Row], lanes: int) -> list[list[Row]]:
        if self.decoder.flat:
            return lines(rows, self.batch_tokens // lanes, self.decoder.batch_targets // lanes, lanes)
        if not self.decoder.fast:
            return [[row] for row in rows]
        return list(batches(rows, self.batch_tokens, self.decoder.batch_targets, self.decoder.shares))

    def _scored(self, request: TokenRequest) -> ScoredSequence:
        if not request.context or not 0 < len(request.continuation) <= self.max_length:
            raise UserError(
                f"{request.text}: {len(request.context)} tokens of context and {len(request.continuation)} of "
                f"continuation; at least one of each is needed, and at most {self.max_length} of continuation"
            )
        tokens = (request.context + request.continuation)[-(self.max_length + 1) : -1]
        return ScoredSequence(tuple(tokens), tuple(request.continuation))


def _indices(row: Row) -> Iterator[int]:
    """Numbers of the requests that a row answers."""
    return (index for index, _ in row.readings)


def _read(batch: Sequence[Row], logits: torch.Tensor, asked: Sequence[TokenRequest]) -> list[tuple[int, Answer]]:
    """Answers to the requests of a batch from its logits, by index of the request."""
    place: dict[tuple[int, int], int] = {}
    for number, row in enumerate(batch):
        for index in positions(row):
            place[number, index] = len(place)
    reads = [(index, number, where) for number, row in enumerate(batch) for index, where in row.readings]
    at = torch.tensor([place[number, each] for _, number, where in reads for each in where], device=logits.device)
    targets = torch.tensor(
        [token for index, _, _ in reads for token in asked[index].continuation], device=logits.device
    )
    log_probabilities = (logits[at, targets] - logits.logsumexp(-1)[at]).double().cpu()
    greedy = (logits.argmax(-1)[at] == targets).cpu()
    if not log_probabilities.isfinite().all():
        raise StageFailed("the model gives NaN or infinite log-likelihoods; its weights or its adapter are damaged")
    lengths = [len(where) for _, _, where in reads]
    sums = [float(part.sum()) for part in torch.split(log_probabilities, lengths)]
    exact = [bool(part.all()) for part in torch.split(greedy, lengths)]
    return [(index, answer) for (index, _, _), answer in zip(reads, zip(sums, exact, strict=True), strict=True)]
