from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from layersig.fast.sharing import Family, Row, ScoredSequence, batches, lines, plan

LONG = tuple(range(100, 400))
TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=12)


def scored(tokens: tuple[int, ...], targets: int = 1) -> ScoredSequence:
    return ScoredSequence(tokens, tuple(range(targets)))


def sequences(
    families: list[Family], batch_tokens: int = 50, pack: bool = True
) -> Iterator[tuple[int, tuple[int, ...], list[int]]]:
    """Index, the tokens from the start to the last one read, and the depths read, rebuilt from the packed rows."""
    for family in families:
        for batch in batches(family.rows, batch_tokens, 10**6, pack):
            for row in batch:
                for index, reads in row.readings:
                    yield index, family.trunk + _line(row, reads[-1]), [row.depths[each] for each in reads]


def _line(row: Row, last: int) -> tuple[int, ...]:
    line: list[int] = []
    while last >= 0:
        line.append(row.tokens[last])
        segment = next(each for each in row.segments if each.start <= last < each.stop)
        last = last - 1 if last > segment.start else segment.parent
    return tuple(reversed(line))


@given(st.lists(st.tuples(TOKENS, st.integers(1, 3)), min_size=1, max_size=12), st.sampled_from([0.0, 0.01, 1.0]))
def test_every_request_reads_its_own_sequence(drawn: list[tuple[list[int], int]], pair_cost: float) -> None:
    requests = [scored(tuple(tokens), min(targets, len(tokens))) for tokens, targets in drawn]
    for share in (True, False):
        found = {index: (line, depths) for index, line, depths in sequences(plan(requests, pair_cost, share))}
        for index, request in enumerate(requests):
            assert found[index] == (request.tokens, list(range(request.start, len(request.tokens))))


def test_choices_share_their_context() -> None:
    requests = [scored((*LONG[:30], choice, choice), 2) for choice in range(4)]
    [family] = plan(requests, 1e-3)
    assert (family.trunk, family.tokens) == ((), 30 + 4 * 2)


def test_a_subject_shares_its_examples() -> None:
    requests = [scored(LONG + (question,) * 60) for question in range(30)]
    [family] = plan(requests, 1e-3)
    assert family.trunk == LONG
    assert family.tokens == 300 + 30 * 60


def test_a_trunk_holds_nothing_that_is_scored() -> None:
    requests = [ScoredSequence(LONG + (question,) * 60, tuple(range(160 if question else 1))) for question in range(30)]
    [family] = plan(requests, 1e-3)
    assert family.trunk == LONG[:200]


def test_the_plan_does_not_depend_on_the_order_of_requests() -> None:
    requests = [scored((*LONG[:40], choice, choice)) for choice in range(5)] + [scored((1, 2, 3))]
    there = [[row.tokens for row in family.rows] for family in plan(requests, 1e-3)]
    back = [[row.tokens for row in family.rows] for family in plan(requests[::-1], 1e-3)]
    assert there == back


def test_batches_keep_the_budget_and_fill_gaps() -> None:
    rows = plan([scored((length,) * length) for length in (40, 39, 20, 18, 3, 2)], 1e-3)[0].rows
    cut = list(batches(rows, 80, 10**6))
    assert [[len(row) for row in batch] for batch in cut] == [[40, 39], [20, 18 + 2, 3]]


def test_lines_keep_order_and_limits() -> None:
    rows = plan([scored((length,) * length) for length in (40, 39, 20, 18, 3)], 1e-3)[0].rows
    for limits in ((60, 10**6), (1, 10**6), (10**6, 2), (10**6, 10**6)):
        for multiple in (1, 2, 3):
            cut = lines(rows, *limits, multiple)
            assert [row for batch in cut for row in batch] == list(rows)
            assert all(len(batch) == 1 or sum(map(len, batch)) <= limits[0] for batch in cut)
            assert all(len(batch) == 1 or sum(row.targets for row in batch) <= limits[1] for batch in cut)
    assert [[len(row) for row in batch] for batch in lines(rows, 10**6, 10**6, 2)] == [[3, 18, 20], [39, 40]]
    assert [len(batch) for batch in lines(rows, 10**6, 10**6)] == [5]
    assert [len(batch) for batch in lines(rows, 1, 10**6)] == [1] * 5
