"""Run every simulated study and write the pages that rest on them: ``python -m tests.calibration [--quick]``."""

import argparse
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import numpy as np

from tests.calibration.agreement_studies import gains_and_attenuation, interval_coverage, sharing
from tests.calibration.claim_studies import families, margins, method_claims
from tests.calibration.contrast_studies import contrasts
from tests.calibration.depth_studies import group_nulls, label_tests, pair_nulls
from tests.calibration.edge_studies import levels, methods, pairs, ratios_at_the_edge
from tests.calibration.gain_studies import planned_differences, share_of_gain
from tests.calibration.look_studies import looks
from tests.calibration.milestone_studies import milestone_levels
from tests.calibration.plan_studies import detectable_from_pilots, equivalence_plans
from tests.calibration.profile_studies import on_real_profiles, shapes
from tests.calibration.published import published_page
from tests.calibration.ranking_studies import depth_profiles, differences, jaccard_intervals, single_layers, ties
from tests.calibration.report import Study, calibration_page, fill_tables, write_whole
from tests.calibration.report_studies import reports
from tests.calibration.score_studies import detectable, paired_tests, ratios, two_way_coverage
from tests.calibration.seed_studies import ceilings, layer_ranks
from tests.calibration.sweep_studies import sweeps
from tests.calibration.unit_studies import classes, clusters, runs, weights

STUDIES: tuple[Callable[[int, np.random.Generator], Study], ...] = (
    pair_nulls, group_nulls, label_tests, interval_coverage, sharing, gains_and_attenuation,
    two_way_coverage, method_claims, margins, families, paired_tests, detectable, ratios, reports,
    single_layers, shapes, on_real_profiles, ties, jaccard_intervals, differences, depth_profiles,
    levels, pairs, methods, ratios_at_the_edge, weights, clusters, runs, classes,
    detectable_from_pilots, equivalence_plans,
    contrasts, milestone_levels, sweeps, share_of_gain, planned_differences, ceilings, layer_ranks, looks,
)  # fmt: skip
REPETITIONS, QUICK_REPETITIONS = 2000, 20
SEED = 20_410


def run_studies(repetitions: int) -> list[Study]:
    """All studies, as many side by side as there are processors; each has random numbers of its own."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(_run, range(len(STUDIES)), repeat(repetitions)))


def _run(number: int, repetitions: int) -> Study:
    start = time.perf_counter()
    found = STUDIES[number](repetitions, np.random.default_rng([SEED, number]))
    seconds = time.perf_counter() - start
    sys.stderr.write(f"{seconds:7.1f} s  {found.title}\n")
    return replace(found, seconds=seconds)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.calibration", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help=f"smoke test: {QUICK_REPETITIONS} experiments, prints, writes nothing"
    )
    quick = parser.parse_args().quick
    repetitions = QUICK_REPETITIONS if quick else REPETITIONS
    studies = run_studies(repetitions)
    page = calibration_page(studies, repetitions)
    docs = Path(__file__).parents[2] / "docs"
    which = docs / "which-test-holds.md"
    comparison = fill_tables(which.read_text(encoding="utf-8"), studies)
    if quick:
        sys.stdout.write(page)
        return
    write_whole(docs / "calibration.md", page)
    write_whole(which, comparison)
    write_whole(docs / "published-overlaps.md", published_page())


if __name__ == "__main__":
    main()
