"""Log-likelihoods of continuations, in batches of requests that share what they have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby, islice
from operator import itemgetter
from typing import NamedTuple

import torch

from layersig.distributed.world import world
from layersig.errors import StageFailed, UserError
from layersig.evaluating.kept import Round
from layersig.fast.decoder import Decoder, positions
from layersig.fast.plans import PLANS
from layersig.fast.sharing import Row, ScoredSequence, batches, lines
from layersig.fast.trunk import Trunk
from layersig.models.devices import free
from layersig.stages.halving import Halving

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

    @cached_property
    def _halving(self) -> Halving[Row]:
        return Halving("requests", lambda rows: len(rows) * max(map(len, rows)), partial(free, self.decoder.device))

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
        plan = PLANS.of([self._scored(request) for request in asked], self.decoder.pair_cost, self.decoder.shares)
        families = [family for family in plan if not kept.has(index for row in family.rows for index in _indices(row))]
        with self.decoder.scoring() as lanes:
            cuts = [self._batches(family.rows, lanes.count) for family in families]
        parts = [(number, batch) for number, cut in enumerate(cuts) for batch in cut]

        def read(batch: Sequence[Row], trunk: Trunk | None) -> list[tuple[int, Answer]]:
            # A known batch keeps its place: a lone one would be run with the threads of all lanes.
            if kept.has(index for row in batch for index in _indices(row)):
                return []
            pieces = self._halving.run(lambda rows: _read(rows, self.decoder.logits(rows, trunk), asked), batch)
            return [each for piece in pieces for each in piece]

        def run(own: Sequence[tuple[int, list[Row]]]) -> Iterator[list[tuple[int, Answer]]]:
            for number, group in groupby(own, key=itemgetter(0)):
                family, some = families[number], [batch for _, batch in group]
                trunk = self.decoder.trunk(family.trunk) if family.trunk else None
                # So does one whose neighbours another process runs.
                alone: list[list[Row]] = [[]] if len(some) == 1 < len(cuts[number]) else []
                with self.decoder.scoring() as lanes:
                    yield from islice(lanes.run(partial(read, trunk=trunk), [*some, *alone]), len(some))

        last, tokens = -1, 0
        for (number, batch), found, _ in world().shared(parts, run):
            if number != last:
                last, tokens = number, len(families[number].trunk)
                self.done(0, tokens)
            if not found:
                continue
            size = sum(map(len, batch))
            kept.keep(dict(found), tokens + size)
            tokens = 0
            yield from found
            self.done(sum(len(row.readings) for row in batch), size)

    def _batches(self, rows: Sequence[Row], lanes: int) -> list[list[Row]]:
        if self.decoder.flat:
            return lines(rows, self.batch_tokens // lanes, self.decoder.batch_targets // lanes, lanes)
        if not self.decoder.fast:
            return [[row] for row in rows]
        decoder = self.decoder
        return list(
            batches(rows, self.batch_tokens, decoder.batch_targets, decoder.shares, enough_tokens=decoder.enough_tokens)
        )

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
    log_probabilities = (logits[at, targets] - logits.logsumexp(-1)[at]).cpu().double()
    greedy = (logits.argmax(-1)[at] == targets).cpu()
    if not log_probabilities.isfinite().all():
        raise StageFailed("the model gives NaN or infinite log-likelihoods; its weights or its adapter are damaged")
    lengths = [len(where) for _, _, where in reads]
    sums = [float(part.sum()) for part in torch.split(log_probabilities, lengths)]
    exact = [bool(part.all()) for part in torch.split(greedy, lengths)]
    return [(index, answer) for (index, _, _), answer in zip(reads, zip(sums, exact, strict=True), strict=True)]
