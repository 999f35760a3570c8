"""Plans which tokens go through the model once, when many sequences begin alike.

Sequences are sorted, so those that begin alike are neighbours. What many of them share at length (the few-shot
examples of an MMLU subject) becomes a *trunk*, run once into a key-value cache; sequences that share the rest (the
choices of an item) are packed into one *row*: a token tree, in which a token attends to its ancestors only. The plan
depends on the sequences alone, never on the order in which they were asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

SHORTEST_TRUNK = 64
"""Shorter common beginnings are not looked at."""
TRUNK_OVERHEAD = 128
"""What a cache of its own costs (one more pass, smaller batches), in tokens through the linear layers."""


class ScoredSequence(NamedTuple):
    """A sequence, and from where on its tokens are scored.

    Attributes:
        tokens: Token ids that go through the model: context and continuation without its last token.
        targets: Token ids to score; the last `len(targets)` positions predict them.
    """

    tokens: tuple[int, ...]
    targets: tuple[int, ...]

    @property
    def start(self) -> int:
        """Index of the position that predicts the first target."""
        return len(self.tokens) - len(self.targets)


class TokenRun(NamedTuple):
    """A run of consecutive tokens of a row, `start` to `stop`, that depends on token `parent` (-1: on the trunk)."""

    start: int
    stop: int
    parent: int


@dataclass(slots=True)
class Row:
    """A token tree in one row.

    Attributes:
        tokens: Token ids, parents before children.
        depths: Distance of each token from the start of the trunk: its position in its own sequence.
        segments: How the tokens hang together.
        readings: (index of the request, indices of the tokens that predict its targets).
    """

    tokens: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    segments: list[TokenRun] = field(default_factory=list)
    readings: list[tuple[int, list[int]]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def is_chain(self) -> bool:
        """Whether plain causal attention is right for it."""
        return all(segment.parent == segment.start - 1 for segment in self.segments)

    @property
    def targets(self) -> int:
        """Tokens to score."""
        return sum(len(reads) for _, reads in self.readings)


class Family(NamedTuple):
    """Rows that continue the same trunk; an empty trunk for rows that share nothing."""

    trunk: tuple[int, ...]
    rows: tuple[Row, ...]

    @property
    def tokens(self) -> int:
        """Tokens that go through the model."""
        return len(self.trunk) + sum(len(row) for row in self.rows)


def shared_length(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    for index, (left, right) in enumerate(zip(a, b, strict=False)):
        if left != right:
            return index
    return min(len(a), len(b))


def plan(requests: Sequence[ScoredSequence], pair_cost: float, share: bool = True) -> list[Family]:
    """Trunks and rows for all requests.

    Args:
        requests: Sequences to score; equal ones are run once.
        pair_cost: Cost of one query-key pair in units of one token through the linear layers. A sequence joins a row
            when the tokens saved outweigh the longer row's attention.
        share: False runs each distinct sequence as a row of its own.

    Returns:
        The families with a trunk in sorted order, then one without, if any rows are left.
    """
    order = sorted(range(len(requests)), key=lambda index: requests[index].tokens)
    if not share:
        return [Family((), tuple(_rows(requests, order, 0, None)))] if order else []
    families: list[Family] = []
    alone: list[int] = []
    for run in _runs(requests, order):
        trunk = requests[run[0]].tokens[: _trunk(requests, run)]
        if len(trunk) >= SHORTEST_TRUNK:
            beyond = list(_rows(requests, run, len(trunk), pair_cost))
            cost = TRUNK_OVERHEAD + len(trunk) + pair_cost * len(trunk) ** 2 + _cost(beyond, len(trunk), pair_cost)
            if cost < _cost(list(_rows(requests, run, 0, pair_cost)), 0, pair_cost):
                families.append(Family(trunk, tuple(beyond)))
                continue
        alone.extend(run)
    rows = tuple(_rows(requests, alone, 0, pair_cost))
    return families + ([Family((), rows)] if rows else [])


def _runs(requests: Sequence[ScoredSequence], order: Sequence[int]) -> Iterator[list[int]]:
    """Consecutive requests of which each shares at least a trunk with the next."""
    run: list[int] = []
    for index in order:
        if run and shared_length(requests[run[-1]].tokens, requests[index].tokens) < SHORTEST_TRUNK:
            yield run
            run = []
        run.append(index)
    if run:
        yield run


def _trunk(requests: Sequence[ScoredSequence], run: Sequence[int]) -> int:
    """Tokens that all of a sorted run share and of which none predicts a target."""
    shared = shared_length(requests[run[0]].tokens, requests[run[-1]].tokens)
    return min(shared, min(requests[index].start for index in run))


def _cost(rows: Sequence[Row], trunk: int, pair_cost: float) -> float:
    return sum(len(row) + pair_cost * len(row) * (trunk + len(row)) for row in rows)


def _rows(
    requests: Sequence[ScoredSequence], order: Iterable[int], trunk: int, pair_cost: float | None
) -> Iterator[Row]:
    """Packs sorted requests, less their trunk, into rows; without a `pair_cost` only equal ones share a row."""
    row = Row()
    previous: Sequence[int] = ()
    path: list[int] = []
    for index in order:
        request = requests[index]
        tokens = request.tokens[trunk:]
        shared = shared_length(previous, tokens)
        if row.tokens and shared < len(tokens):
            pairs = (len(row) + len(tokens) - shared) ** 2 - len(row) ** 2 - len(tokens) ** 2
            if pair_cost is None or shared == 0 or shared < pair_cost * pairs:
                yield row
                row, path, shared = Row(), [], 0
        if shared < len(tokens):
            parent = path[shared - 1] if shared else -1
            start = len(row)
            row.tokens.extend(tokens[shared:])
            row.depths.extend(range(trunk + shared, trunk + len(tokens)))
            row.segments.append(TokenRun(start, len(row), parent))
            path = path[:shared] + list(range(start, len(row)))
        row.readings.append((index, path[request.start - trunk : len(tokens)]))
        previous = tokens
    if row.tokens:
        yield row


def batches(
    rows: Sequence[Row], batch_tokens: int, batch_targets: int, pack: bool = True, *, enough_tokens: int
) -> Iterator[list[Row]]:
    """Rows cut into batches of at most `batch_tokens` padded tokens, longest first.

    Shorter rows fill what longer ones leave of the width (first fit), so that hardly any padding is left; trees that
    share a row do not see each other.

    Args:
        rows: Rows of one family.
        batch_tokens: Largest number of padded tokens; a longer row makes a batch of its own.
        batch_targets: Largest number of positions with logits.
        pack: False leaves every row by itself.
        enough_tokens: A batch that holds so many is not filled up with rows much shorter than its longest, since
            padding costs more.
    """
    left = sorted(rows, key=lambda row: (-len(row), row.tokens))
    while left:
        width, shortest = len(left[0]), len(left[-1])
        bins: list[list[Row]] = []
        room: list[int] = []
        targets = 0
        later: list[Row] = []
        for seen, row in enumerate(left):
            place = next((number for number, free in enumerate(room) if pack and free >= len(row)), None)
            if bins and targets + row.targets > batch_targets:
                later.append(row)
                continue
            if place is None:
                held = len(bins) * width
                if held + width > max(batch_tokens, width) or (held >= enough_tokens and len(row) < 0.95 * width):
                    if not pack or max(room) < shortest:  # nor is there a place for any row behind it
                        later += left[seen:]
                        break
                    later.append(row)
                    continue
                place = len(bins)
                bins.append([])
                room.append(width)
            bins[place].append(row)
            room[place] -= len(row)
            targets += row.targets
        yield [joined(each) for each in bins]
        left = later


def lines(rows: Sequence[Row], batch_tokens: int, batch_targets: int, multiple: int = 1) -> list[list[Row]]:
    """Rows in their order cut into batches of about equal size that lie end to end, without padding.

    Args:
        rows: Rows of one family.
        batch_tokens: Largest number of tokens; a longer row makes a batch of its own.
        batch_targets: Largest number of positions with logits, likewise.
        multiple: The batches are as few as may be and a multiple of this many, if there are rows enough.
    """
    total = sum(map(len, rows))
    count = multiple * max(1, total // max(1, multiple * batch_tokens))
    while True:
        cut: list[list[Row]] = [[] for _ in range(count)]
        before = 0
        for row in rows:
            cut[(2 * before + len(row)) * count // (2 * total)].append(row)
            before += len(row)
        if all(len(batch) <= 1 or _fits(batch, batch_tokens, batch_targets) for batch in cut):
            return [batch for batch in cut if batch]
        count += multiple


def _fits(batch: Sequence[Row], tokens: int, targets: int) -> bool:
    return sum(map(len, batch)) <= tokens and sum(row.targets for row in batch) <= targets


def joined(rows: Sequence[Row]) -> Row:
    """Rows one after the other in one, as trees of their own."""
    whole = Row()
    for row in rows:
        offset = len(whole)
        whole.tokens += row.tokens
        whole.depths += row.depths
        whole.segments += [
            TokenRun(start + offset, stop + offset, parent + offset if parent >= 0 else -1)
            for start, stop, parent in row.segments
        ]
        whole.readings += [(index, [each + offset for each in reads]) for index, reads in row.readings]
    return whole
