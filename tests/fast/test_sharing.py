from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from layersig.fast import plans
from layersig.fast.sharing import Family, Row, ScoredSequence, TokenRun, batches, lines, plan

LONG = tuple(range(100, 400))
TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=12)


def scored(tokens: tuple[int, ...], targets: int = 1) -> ScoredSequence:
    return ScoredSequence(tokens, tuple(range(targets)))


def sequences(
    families: list[Family], batch_tokens: int = 50, pack: bool = True
) -> Iterator[tuple[int, tuple[int, ...], list[int]]]:
    """Index, the tokens from the start to the last one read, and the depths read, rebuilt from the packed rows."""
    for family in families:
        for batch in batches(family.rows, batch_tokens, 10**6, pack, enough_tokens=1024):
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
    cut = list(batches(rows, 80, 10**6, enough_tokens=1024))
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


def test_a_plan_is_made_once_for_all_arms(monkeypatch):
    made = []
    monkeypatch.setattr(plans, "plan", lambda *args: made.append(args) or plan(*args))
    found = plans.Plans(most=400)
    asked = [ScoredSequence((*range(90), choice), (choice, 3)) for choice in (7, 8, 9)]
    first = found.of(asked, 0.01, True)
    assert found.of(list(asked), 0.01, True) is first
    assert first == plan(asked, 0.01, True)
    assert len(made) == 1
    # Whatever a plan depends on tells plans apart.
    others = [asked[::-1], asked[:2], [*asked[:2], ScoredSequence(asked[2].tokens, (9, 4))]]
    for other in others:
        assert found.of(other, 0.01, True) == plan(other, 0.01, True)
    found.of(asked, 0.02, True)
    found.of(asked, 0.01, False)
    assert len(made) == 6
    assert sum(family.tokens for kept in found._kept.values() for family in kept) <= 400


@given(st.lists(st.integers(1, 60), min_size=1, max_size=60), st.integers(1, 300), st.integers(1, 200), st.booleans())
def test_no_batch_is_searched_further_than_it_has_room(lengths, most, enough, pack):
    """The same batches as by looking at every row for every batch."""
    rows = [Row(list(range(n)), list(range(n)), [TokenRun(0, n, -1)], [(i, [n - 1])]) for i, n in enumerate(lengths)]
    left = sorted(rows, key=lambda row: (-len(row), row.tokens))
    expected = []
    while left:
        width, bins, room, targets, later = len(left[0]), [], [], 0, []
        for row in left:
            place = next((number for number, free in enumerate(room) if pack and free >= len(row)), None)
            held = len(bins) * width
            full = held + width > max(most, width) or (held >= enough and len(row) < 0.95 * width)
            if (bins and targets + row.targets > 20) or (place is None and full):
                later.append(row)
                continue
            if place is None:
                place = len(bins)
                bins.append([])
                room.append(width)
            bins[place].append(row)
            room[place] -= len(row)
            targets += row.targets
        expected.append([[index for row in each for index, _ in row.readings] for each in bins])
        left = later
    found = [
        [[index for index, _ in row.readings] for row in batch]
        for batch in batches(rows, most, 20, pack, enough_tokens=enough)
    ]
    assert found == expected
