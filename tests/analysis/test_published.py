"""What printed numbers stand for, against an enumeration of everything that gives them."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import binomtest, hypergeom
from statsmodels.stats.proportion import confint_proportions_2indep

from layersig.analysis.published import AccuracyCheck, OverlapCheck
from layersig.analysis.reported import Counts, Figure, counts_behind, counts_cut


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        (".90", "0.895", "0.905"),
        ("0.9", "0.85", "0.95"),
        ("1", "0.5", "1.5"),
        ("0", "0", "0.5"),
        ("45.78%", "0.45775", "0.45785"),
        ("90 %", "0.895", "0.905"),
        ("0.9000", "0.89995", "0.90005"),
    ],
)
def test_a_printed_number_is_what_rounds_to_it(text, low, high):
    figure = Figure.read(text)
    assert (figure.low, figure.high) == (Fraction(low), Fraction(high))


@pytest.mark.parametrize("text", ["", ".", "abc", "-0.5", "+0.5", "1e-3", "0,9", "1.2.3", "nan", "0.9%%", "9" * 40])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(ValueError, match="not a number as it is printed"):
        Figure.read(text)


@pytest.mark.parametrize("items", [7, 12, 80, 164, 500])
@pytest.mark.parametrize("digits", [0, 1, 2])
def test_counts_behind_a_percentage_are_all_that_print_as_it(items, digits):
    printed = {}
    for count in range(items + 1):
        for text in {f"{100 * count / items:.{digits}f}"}:
            printed.setdefault(text, set()).add(count)
    for text, counts in printed.items():
        found = counts_behind(Figure.read(text).as_percent(), lambda share: share * items, 0, items)
        assert counts <= set(range(found.least, found.most + 1))
        # Those beyond lie exactly on a half, which may be rounded either way.
        beyond = set(range(found.least, found.most + 1)) - counts
        assert all((Fraction(100 * count, items) * 10**digits * 2).denominator == 1 for count in beyond)
    absent = {f"{value / 10**digits:.{digits}f}" for value in range(100 * 10**digits + 1)} - set(printed)
    for text in sorted(absent)[:200]:
        found = counts_behind(Figure.read(text).as_percent(), lambda share: share * items, 0, items)
        assert all(
            (Fraction(100 * count, items) * 10**digits * 2).denominator == 1
            for count in range(found.least, found.most + 1)
        )


def test_a_number_that_was_cut_off_is_found():
    figure = Figure.read("0.66")
    assert not counts_behind(figure, lambda share: share * 3, 0, 3)
    assert counts_cut(figure, lambda share: share * 3, 0, 3) == Counts(2, 2)


@pytest.mark.parametrize(
    ("first", "second", "items"),
    [((3, 4), (1, 2), 7), ((0, 2), (0, 0), 5), ((4, 6), (5, 6), 6), ((2, 2), (5, 6), 9), ((5, 5), (5, 5), 8)],
)
def test_p_values_of_accuracies_span_every_table_that_gives_them(first, second, items):
    by_discordant: dict[int, list[float]] = {}
    for wins, losses, both in itertools.product(range(items + 1), repeat=3):
        right = both + wins, both + losses
        if wins + losses + both <= items and all(
            low <= count <= high for count, (low, high) in zip(right, (first, second), strict=True)
        ):
            p = binomtest(wins, wins + losses, 0.5).pvalue if wins + losses else 1.0
            by_discordant.setdefault(wins + losses, []).append(p)
    check = AccuracyCheck(items, Counts(*first), Counts(*second))
    every = [p for found in by_discordant.values() for p in found]
    assert check.p == pytest.approx((min(every), max(every)))
    assert (check.possible.least, check.possible.most) == (min(by_discordant), max(by_discordant))
    for count in range(items + 1):
        given = AccuracyCheck(items, Counts(*first), Counts(*second), Counts(count, count))
        assert bool(given.possible) is (count in by_discordant)
        if given.possible:
            assert given.p == pytest.approx((min(by_discordant[count]), max(by_discordant[count])))


@pytest.mark.parametrize(("first", "second", "items"), [(60, 40, 100), (641, 626, 1000), (9, 1, 20)])
def test_the_most_discordant_items_are_the_last_significant_ones(first, second, items):
    check = AccuracyCheck(items, Counts(first, first), Counts(second, second))
    gap = first - second
    significant = [
        gap + 2 * losses
        for losses in range((check.possible.most - gap) // 2 + 1)
        if binomtest(losses, gap + 2 * losses, 0.5).pvalue <= 0.05
    ]
    assert check.most_for(0.05) == (significant[-1] if significant else None)


@pytest.mark.parametrize(("first", "second", "items"), [(6429, 6260, 14042), (49, 44, 80), (3, 0, 10), (10, 10, 10)])
def test_the_unpaired_interval_is_newcombes(first, second, items):
    found = AccuracyCheck(items, Counts(first, first), Counts(second, second)).unpaired()
    expected = confint_proportions_2indep(first, items, second, items, method="newcomb")
    assert (found.low, found.high) == pytest.approx(expected)


@pytest.mark.parametrize(("n", "a", "b"), [(225, 169, 169), (197, 148, 148), (30, 3, 3), (40, 10, 25), (12, 6, 9)])
def test_an_overlap_against_the_hypergeometric_law(n, a, b):
    law = hypergeom(n, a, b)
    for shared in {max(0, a + b - n), (max(0, a + b - n) + min(a, b)) // 2, min(a, b)}:
        check = OverlapCheck(n, a, b, Counts(shared, shared))
        assert check.p[0] == pytest.approx(min(1, 2 * min(law.sf(shared - 1), law.cdf(shared))))
        assert check.kappa[0] == pytest.approx((shared - a * b / n) / (min(a, b) - a * b / n))
        assert check.jaccard[0] == pytest.approx(shared / (a + b - shared))


@pytest.mark.parametrize(("n", "k", "shared"), [(225, 169, 160), (225, 22, 15), (100, 50, 40)])
def test_chance_among_the_layers_in_play_gives_the_overlap(n, k, shared):
    among, what = OverlapCheck(n, k, k, Counts(shared, shared)).in_play
    size, both = (n - k, n - 2 * k + shared) if what == "left out" else (k, shared)
    rng = np.random.default_rng(0)
    draws = rng.random((4000, 2, round(among))).argsort(axis=-1)[..., :size]
    met = np.mean([len(set(one) & set(two)) for one, two in draws.tolist()])
    assert met == pytest.approx(both, rel=0.03)
