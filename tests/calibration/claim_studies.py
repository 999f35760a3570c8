"""Claims about arms: how often verdicts, claims of sameness and families of tests are wrong."""

from __future__ import annotations

import numpy as np

from layersig.analysis.as_good import AsGood, conclude
from layersig.analysis.means import mean_items
from layersig.analysis.multiplicity import holm
from layersig.analysis.paired import mcnemar_items
from layersig.analysis.rank_intervals import rank_intervals_items_and_seeds
from layersig.analysis.results import Estimate
from layersig.analysis.twoway import mean_squares, two_way_estimate
from layersig.analysis.verdicts import Verdict, verdict_of
from tests.calibration.margins import non_inferiority, superiority_by, tost
from tests.calibration.report import Study, Table, at_most, percent
from tests.calibration.simulate import binary_tables, table_mean_squares

DIRECTIONAL = {
    Verdict.BETTER_BY_MARGIN, Verdict.BETTER_SIZE_UNSETTLED, Verdict.BETTER_WITHIN_MARGIN,
    Verdict.WORSE_BY_MARGIN, Verdict.WORSE_SIZE_UNSETTLED, Verdict.WORSE_WITHIN_MARGIN,
}  # fmt: skip


def method_claims(reps: int, rng: np.random.Generator) -> Study:
    """Two arms of the same method that differ in seed only: who calls one better?"""
    rows, held = [], []
    for run_sd in (0.1, 0.2, 0.4):
        cells = []
        for seeds in (1, 3, 5, 8):
            item, method = _false_verdicts(reps, rng, seeds, run_sd)
            cells.append(percent(item))
            if seeds == 1:
                continue
            cells.append(percent(method))
            held.append(method)
        rows.append((f"{run_sd:g}", *cells))
    pairs = [f"{seeds} runs: {test}" for seeds in (3, 5, 8) for test in ("item test", "two-way")]
    header = ("spread of runs (logits)", "1 run: item test", *pairs)
    large = [
        sum(verdict_of(two_way_estimate(ms), 0.02)[0] in DIRECTIONAL for ms in tables) / reps
        for seeds in (3, 5, 8)
        for load in (1.0, 10.0, 50.0)
        for tables in [table_mean_squares(rng, reps, seeds, 14_042, load, 0.0, heavy=False)]
    ]
    return Study(
        "False claims that one method is better",
        "Pairs of arms that are the same method and differ in seed only; 1,000 items answered right or wrong. The item "
        "test takes items as the only replicates (one run: exact McNemar; several runs: t over item means). A "
        "verdict is "
        "false when it says better or worse in any form. A spread of .2 logits moves accuracy by about 2 points.",
        (Table("method-claims", "False claims at nominal 5 %.", header, tuple(rows)),),
        (
            at_most("false better or worse at scope method, 1,000 items", held, 0.065),
            at_most("false better or worse at scope method, 14,042 items", large, 0.065),
        ),
    )


def _false_verdicts(reps: int, rng: np.random.Generator, seeds: int, run_sd: float) -> tuple[float, float]:
    item = method = 0
    for _ in range(reps):
        a, b = binary_tables(rng, 2, seeds, 1000, run_sd)
        if seeds == 1:
            item += mcnemar_items(a[0] > 0, b[0] > 0).p <= 0.05
            continue
        item += mean_items((a - b).mean(axis=0)).p_value() <= 0.05
        method += verdict_of(two_way_estimate(mean_squares(a - b)), 0.02)[0] in DIRECTIONAL
    return item / reps, method / reps


def margins(reps: int, rng: np.random.Generator) -> Study:
    """Equivalence and the fixed sequence at the edge of the margin."""
    rows, errors, reps = [], [], 3 * reps
    for seeds in (3, 5, 8):
        rates = []
        for seed_load, item_load, heavy in (
            (0.5, 0.5, False),
            (10.0, 2.0, False),
            (100.0, 0.0, False),
            (10.0, 2.0, True),
        ):
            margin = 4 * ((1 + seed_load + item_load) / (seeds * 200)) ** 0.5
            tables = table_mean_squares(rng, reps, seeds, 200, seed_load, item_load, heavy)
            at_edge = [shifted(two_way_estimate(ms), -margin) for ms in tables]
            rates.append(sum(tost(e, margin).established for e in at_edge) / reps)
            rates.append(
                sum(verdict_of(e, margin)[0] in (Verdict.EQUIVALENT, Verdict.NOT_WORSE) for e in at_edge) / reps
            )
            sequence = [
                _sequence(shifted(two_way_estimate(other), 3 * margin), e, margin)
                for e, other in zip(at_edge, reversed(tables), strict=True)
            ]
            rates.append(sum(c is AsGood.AS_GOOD_AND_SELECTIVE for c in sequence) / reps)
        rows.append((str(seeds), percent(max(rates[0::3])), percent(max(rates[1::3])), percent(max(rates[2::3]))))
        if seeds >= 5:
            errors += rates
    header = ("seeds", "TOST", "verdict equivalent or not worse", "as good as all layers")
    return Study(
        "Equivalence and non-inferiority at the edge",
        "The true difference equals minus the margin, so every claim of equivalence or of non-inferiority is wrong. "
        "Two-way "
        "estimates over a grid of seed and item loads, one of them with heavy tails; the worst of the grid is shown.",
        (Table("edge", "Wrong claims at nominal 5 %.", header, tuple(rows)),),
        (at_most("TOST, non-inferiority and the fixed sequence err (5 and 8 seeds)", errors, 0.06),),
    )


def _sequence(gain: Estimate, loss: Estimate, margin: float) -> AsGood:
    """The fixed sequence against the margin, where the arm does beat matched random."""
    gains, keeps = superiority_by(gain, margin).p, non_inferiority(loss, margin).p
    return conclude(gains, max(gains, keeps), max(gains, keeps, 0.01), worse=False)


def shifted(estimate: Estimate, by: float) -> Estimate:
    return Estimate(estimate.value + by, estimate.se, estimate.df)


def families(reps: int, rng: np.random.Generator) -> Study:
    """Eight arms against one reference, and the ranks of all."""
    rows, holm_errors, rank_errors = [], [], []
    for seeds in (5, 8):
        for seed_sd in (0.02, 0.2):
            wrong = ranked = 0
            for _ in range(reps):
                tables = 0.5 * rng.standard_normal((9, seeds, 200)) + seed_sd * rng.standard_normal((9, seeds, 1))
                against = [two_way_estimate(mean_squares(arm - tables[0])).p_value() for arm in tables[1:]]
                wrong += holm(np.array(against)).min() <= 0.05
                ranked += any(r.best > 1 or r.worst < 6 for r in rank_intervals_items_and_seeds(tables[:6]))
            rows.append((str(seeds), f"{seed_sd:g}", percent(wrong / reps), percent(ranked / reps)))
            holm_errors.append(wrong / reps)
            rank_errors.append(ranked / reps)
    header = ("seeds", "spread of runs", "Holm, any of 8 contrasts", "rank sets, any of 6 arms")
    return Study(
        "Families of contrasts and ranks",
        "All arms are equal. Eight two-way contrasts share one reference arm; rank sets of six arms are wrong when "
        "one of "
        "them leaves out a rank. Residual standard deviation .5, 200 items.",
        (Table("families", "Family-wise errors at nominal 5 %.", header, tuple(rows)),),
        (
            at_most("Holm over 8 contrasts with a common reference", holm_errors, 0.06),
            at_most("simultaneous rank sets of 6 arms", rank_errors, 0.06),
        ),
    )
