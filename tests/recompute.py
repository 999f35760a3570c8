"""Recompute a run's comparisons and agreements of rankings from its records alone: ``python -m tests.recompute RUN``.

Nothing of layersig is imported: files are read as JSON and TOML, and the formulas are written out again from
docs/which-test-holds.md, with scipy's t and statsmodels' Holm. Comparisons: for several training runs per arm, and
tasks without fixed strata. Agreements: of rankings of blocks over the blocks, and of rankings on different texts.
"""

from __future__ import annotations

import json
import math
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

Table = NDArray[np.float64]
Item = tuple[float, float, str | None]
"""Value, weight, cluster."""
MARGINS = {"loss": 0.02, "acc": 0.01, "acc_norm": 0.01, "exact_match": 0.01}
SHARES = {"acc", "acc_norm", "exact_match"}
BETTER = {"loss": -1.0}


@dataclass
class Mean:
    """A mean over seeds and items, both random."""

    value: float
    centre: float
    se: float
    df: float

    def p(self, null: float = 0.0) -> float:
        return 2 * float(stats.t.sf(abs(self.centre - null) / self.se, self.df))

    def above(self, null: float) -> float:
        return float(stats.t.sf((self.centre - null) / self.se, self.df))

    def interval(self, alpha: float) -> tuple[float, float]:
        half = float(stats.t.ppf(1 - alpha / 2, self.df)) * self.se
        return self.centre - half, self.centre + half


class Run:
    """The outcomes of a run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recipe = tomllib.loads((folder / "resolved.toml").read_text(encoding="utf-8"))
        self.analysis = json.loads((folder / "analysis.json").read_text(encoding="utf-8"))
        self.cells: dict[tuple[str, str | None, int | None], dict[tuple[str, str], dict[str, Item]]] = {}
        for path in sorted((folder / "evaluations").glob("**/items.jsonl")):
            arm, *rest = path.parent.relative_to(folder / "evaluations").parts
            data = rest[0] if rest else None
            seed = int(rest[1].removeprefix("seed-")) if rest else None
            tasks = self.cells.setdefault((arm, data, seed), {})
            for line in path.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                items = tasks.setdefault((row["task"], row["metric"]), {})
                items[row["item"]] = (row["value"], row.get("weight", 1.0), row.get("cluster"))

    def units(self, arm: str, data: str, task: str, metric: str) -> tuple[Table, Table]:
        """Unit values (seeds, units) and the weight of each unit; the untouched model stands for every seed."""
        seeds = self.recipe["seeds"]
        rows = []
        for seed in seeds:
            cell = (arm, None, None) if arm == "base" else (arm, data, seed)
            rows.append(self.cells[cell][task, metric])
        names = sorted(rows[0])
        values = np.array([[row[name][0] for name in names] for row in rows])
        weights = np.array([rows[0][name][1] for name in names])
        labels = [rows[0][name][2] or f"alone: {name}" for name in names]
        return linearised(values, weights, labels)


def linearised(values: Table, weights: Table, clusters: list[str]) -> tuple[Table, Table]:
    """Numbers whose plain mean is the weighted mean of each row, one a cluster, and the weight of each cluster."""
    means = values @ weights / weights.sum()
    away = weights / weights.mean() * (values - means[:, None])
    names = list(dict.fromkeys(clusters))
    inside = np.array([[cluster == name for cluster in clusters] for name in names], dtype=float)
    return means[:, None] + away @ inside.T * len(names) / weights.size, inside @ weights


def mean(table: Table, weights: Table, added: tuple[float, ...] = ()) -> Mean:
    """Two-way mean; `added` are the pseudo-items of right or wrong outcomes."""
    value = float(table.mean())
    shares = weights / weights.sum()
    if added:
        table = np.hstack([table, np.tile(added, (len(table), 1))])
        shares = np.append(shares * weights.size, np.ones(len(added))) / (weights.size + len(added))
    s, n = table.shape
    grand, rows, columns = table.mean(), table.mean(axis=1), table.mean(axis=0)
    rest = table - rows[:, None] - columns + grand
    even = bool(np.allclose(shares, shares[0]))
    load = np.full(n, 1 / (n - 1)) if even else 1 / (n * (1 - shares))
    if even:
        item_df = n - 1.0
    else:
        h = shares**2 / (1 - shares)
        item_df = 1 / ((shares**2).sum() + h.sum() ** 2 - (h**2).sum())
    ms_seed = n * ((rows - grand) ** 2).sum() / (s - 1)
    ms_item = s * (((columns - grand) ** 2) * load).sum()
    ms_rest = ((rest**2).sum(axis=0) * load).sum() / (s - 1)
    kept = [(ms_seed, s - 1.0), (ms_item, item_df)]
    terms = [*kept, (-ms_rest, (s - 1) * item_df)]

    def satterthwaite(parts: list[tuple[float, float]]) -> float:
        return float(sum(v for v, _ in parts) ** 2 / sum(v**2 / d for v, d in parts))

    if sum(v for v, _ in terms) <= 0 or satterthwaite(terms) < 1:
        terms = kept
    limit = ms_seed * (s - 1) / stats.chi2.ppf(0.2, s - 1)
    df = 1.0 if min(s, n) == 2 else satterthwaite([(limit, s - 1.0), *terms[1:]])
    return Mean(value, float(grand), math.sqrt(sum(v for v, _ in terms) / (s * n)), df)


def difference(run: Run, row: dict[str, Any], arm: str, reference: str) -> tuple[Table, Table, tuple[float, ...]]:
    values, weights = run.units(arm, row["data"], row["task"], row["metric"])
    others, _ = run.units(reference, row["data"], row["task"], row["metric"])
    return values - others, weights, (1.0, -1.0) if row["metric"] in SHARES else ()


def compared(run: Run, row: dict[str, Any]) -> Mean:
    return mean(*difference(run, row, row["arm"], row["reference"]))


def claim_p(run: Run, row: dict[str, Any]) -> float:
    """P-value of steps (i) and (ii) of "as good as all layers"."""
    sign = BETTER.get(row["metric"], 1.0)
    arm, weights, added = difference(run, row, row["arm"], "base")
    everything, _, _ = difference(run, row, "all-layers", "base")
    gains = mean(sign * everything, weights, added).above(margin(run, row["metric"]))
    kept = run.recipe["analyze"]["gain_kept"]
    if added:
        pairs = np.array([[0.0, 1.0, -1.0, 0.0], [0.0, 1.0, 0.0, -1.0]])
        keeps = mean(sign * (arm - kept * everything), weights, tuple(sign * (pairs[0] - kept * pairs[1])))
    else:
        keeps = mean(sign * (arm - kept * everything), weights)
    return max(gains, keeps.above(0.0))


def margin(run: Run, metric: str) -> float:
    return float(run.recipe["analyze"].get("margins", {}).get(metric, MARGINS[metric]))


def moved(run: Run, row: dict[str, Any]) -> bool | None:
    if "base" in (row["arm"], row["reference"]):
        return None
    low, high = mean(*difference(run, row, "all-layers", "base")).interval(2 * run.recipe["analyze"]["alpha"])
    edge = margin(run, row["metric"])
    return low > edge or high < -edge


def verdict(run: Run, row: dict[str, Any], found: Mean, p: float, tests: int) -> str:
    """The words of the report, from the numbers."""
    alpha, edge, sign = run.recipe["analyze"]["alpha"], margin(run, row["metric"]), BETTER.get(row["metric"], 1.0)

    def turned(level: float) -> tuple[float, float]:
        low, high = sorted(sign * end for end in found.interval(level))
        return low, high

    alone, wide, narrow = turned(alpha), turned(alpha / tests), turned(2 * alpha / tests)
    if p <= alpha and alone[0] > 0:
        size = "by more than the margin" if wide[0] > edge else "within" if wide[1] < edge else "unsettled"
        return {"within": "better but within the margin", "unsettled": "better, size unsettled"}.get(
            size, f"better {size}"
        )
    if p <= alpha and alone[1] < 0:
        size = "by more than the margin" if wide[1] < -edge else "within" if wide[0] > -edge else "unsettled"
        return {"within": "worse but within the margin", "unsettled": "worse, size unsettled"}.get(
            size, f"worse {size}"
        )
    same = "undecided"
    if -edge < narrow[0] and narrow[1] < edge:
        same = "equivalent"
    elif narrow[0] > -edge:
        same = "not worse by more than the margin"
    elif narrow[1] < edge:
        same = "not better by more than the margin"
    if same != "undecided" and moved(run, row) is False:
        return "undecided: all layers are not shown to move the untouched model"
    return same


def mismatches(folder: Path) -> Iterator[str]:
    """What differs from `analysis.json`: estimate, error, p-values raw and corrected, verdict."""
    run = Run(folder)
    rows = [row for row in run.analysis["comparisons"] if row["primary"] and row["seeds"] > 1 and row["p"] is not None]
    found = [compared(run, row) for row in rows]
    families = {row["family"] for row in rows} - {None}
    for family in sorted(families):
        members = [(row, each) for row, each in zip(rows, found, strict=True) if row["family"] == family]
        claims = [claim for claim in run.analysis["claims"] if claim["family"] == family]
        raw = [*(each.p() for _, each in members), *(claim_p(run, claim) for claim in claims)]
        adjusted = multipletests(raw, method="holm")[1]
        for (row, each), p, corrected in zip(members, raw, adjusted, strict=False):
            mine = (each.value, each.se, each.df, p, float(corrected))
            theirs = (row["estimate"], row["se"], row["df"], row["p"], row["adjusted_p"])
            if not np.allclose(mine, theirs, rtol=1e-6, atol=1e-12):
                yield f"{row['arm']} - {row['reference']}, {row['task']}: {theirs}, recomputed {mine}"
            if row["family_size"] != len(raw):
                yield f"{family}: {row['family_size']} tests, recomputed {len(raw)}"
            said = verdict(run, row, each, float(corrected), len(raw))
            if said != row["verdict"]:
                yield f"{row['arm']} - {row['reference']}, {row['task']}: {row['verdict']!r}, recomputed {said!r}"
        for claim, corrected in zip(claims, adjusted[len(members) :], strict=True):
            if not math.isclose(claim["as_good_p"], float(corrected), rel_tol=1e-6, abs_tol=1e-12):
                yield f"claim of {claim['arm']}: p = {claim['as_good_p']}, recomputed {corrected}"


def rankings(folder: Path) -> dict[tuple[str, str], dict[int, dict[str, float]]]:
    """Scores of units by scorer and data set, and by seed, units in model order."""
    found: dict[tuple[str, str], dict[int, dict[str, float]]] = {}
    for line in (folder / "scores.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found.setdefault((row["scorer"], row["data"]), {})[row["seed"]] = row["scores"]
    return found


def kappa(one: dict[str, float], other: dict[str, float], k: int) -> float:
    """Chance-corrected overlap of the k units with the highest scores."""
    first, second = (set(sorted(scores, key=scores.__getitem__, reverse=True)[:k]) for scores in (one, other))
    return (len(first & second) * len(one) - k * k) / (k * (len(one) - k))


def disagreements(folder: Path) -> Iterator[str]:
    """What differs from the tables `block_correlations` and `texts` of `analysis.json`; scores must have no ties."""
    analysis = json.loads((folder / "analysis.json").read_text(encoding="utf-8"))
    found = rankings(folder)
    for row in analysis["block_correlations"]:
        names = sorted(next(iter(found[row["a"], row["data"]].values())), key=lambda name: int(name.rpartition(".")[2]))
        a, b = (
            np.array([[run[name] for name in names] for run in found[scorer, row["data"]].values()]).mean(axis=0)
            for scorer in (row["a"], row["b"])
        )
        mine = (stats.spearmanr(a, b).statistic, stats.spearmanr(a[1:], b[1:]).statistic)
        if not np.allclose(mine, (row["correlation"], row["inner"])):
            yield f"{row['a']} and {row['b']} on {row['data']}: recomputed {mine}"
    for row in analysis["texts"]:
        a, b = (found[row["scorer"], data] for data in (row["a"], row["b"]))
        between = [kappa(a[one], b[other], row["k"]) for one in a for other in b if one != other]
        within = [[kappa(runs[i], runs[j], row["k"]) for i in runs for j in runs if i != j] for runs in (a, b)]
        mine = (np.mean(between), np.mean([np.mean(each) for each in within]))
        if not np.allclose(mine, (row["kappa"], row["ceiling"])):
            yield f"{row['scorer']} on {row['a']} and {row['b']}, top {row['k']}: recomputed {mine}"


if __name__ == "__main__":
    wrong = [*mismatches(Path(sys.argv[1])), *disagreements(Path(sys.argv[1]))]
    print("\n".join(wrong) or "every comparison and agreement is as recomputed")  # noqa: T201
    sys.exit(bool(wrong))
