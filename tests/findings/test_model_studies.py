"""Several models: what changes with size, and necessity against plasticity."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from layersig.analysis.assay import AssayResult
from layersig.findings.rows.arms import ASSAYS, COMPARISONS, SHARES
from layersig.findings.rows.layers import LAYERS
from layersig.findings.tables import Findings
from layersig.report.document import Document
from layersig.report.markdown import render_markdown
from layersig.topics.across_models.bridges import bridge_summary_rows, model_bridge_rows
from layersig.topics.across_models.rows import ModelCeilingRow, ModelPairRow
from layersig.topics.across_models.sizes import model_size_rows, model_trend_rows
from layersig.topics.across_models.studies import Studies, study_sections
from layersig.topics.bridge.rows import BRIDGE, BridgeRow
from tests.findings.recipes import FEW, recipe_of


def ceiling(model: str, kappa: float, of: int = 100, share: float = 0.3) -> ModelCeilingRow:
    return ModelCeilingRow(
        scorer="ila", data="d", model=model, k=round(share * of), of=of, seeds=5, kappa=kappa,
        low=kappa - 0.1, high=kappa + 0.1,
    )  # fmt: skip


def pair(source: str, target: str, kappa: float) -> ModelPairRow:
    return ModelPairRow(
        scorer="ila", data="d", source=source, target=target, units=100, coverage=1.0, k=30, of=100, seeds=5,
        kappa=kappa, low=kappa - 0.1, high=kappa + 0.1, ceiling=0.8, ceiling_low=0.7, ceiling_high=0.9, ratio=None,
        lower=None, level=0.975, margin=0.8, verdict=None, correlation=None, p=None, adjusted_p=None, sentence="",
    )  # fmt: skip


def run(
    weights: int,
    *bridges: BridgeRow,
    share: float | None = None,
    shape: str = "interval",
    moved: AssayResult = AssayResult.GAIN,
    control: float | None = None,
    model: str | None = None,
) -> Any:
    """What is read of the findings of a run, of a model of its own unless `model` says which."""
    shares = []
    for arm, kept in {"ila-30": share, "drawn": control, "last": control}.items():
        if kept is None:
            continue
        shares.append(
            SimpleNamespace(
                arm=arm,
                data="d",
                task="heldout/d",
                metric="loss",
                primary=True,
                share=kept,
                shape=shape,
                low=kept - 0.2,
                high=kept + 0.2,
                level=0.95,
            )
        )
    layers = [SimpleNamespace(parameters=weights // 4, block=block) for block in (0, 0, 1, None)]
    roles = {"all-layers": "baseline", "drawn": "random control", "last": "rule control"}
    compared = [SimpleNamespace(arm="ila-30", reference=name, role=role) for name, role in roles.items()]
    findings = Findings.model_construct(alpha=0.05, primary_arms=("ila-30",), notes=(), model=model or f"m{weights}")
    assays = [SimpleNamespace(data="d", task="heldout/d", metric="loss", moved=moved.value)]
    rows = {LAYERS: layers, SHARES: shares, COMPARISONS: compared, ASSAYS: assays, BRIDGE: bridges}
    return findings.with_rows(rows)


def bridge(residual: float | None, p: float | None, correlation: float = 0.1) -> BridgeRow:
    return BridgeRow(
        necessity="ablation", plasticity="ila", data="d", blocks=24, runs=2, correlation=correlation, low=-0.3,
        high=0.5, level=0.95, effective=20.0, run_low=0.0, run_high=0.2, residual=residual, p=p, draws=999,
    )  # fmt: skip


def trends(values: list[float], of: list[int] | None = None) -> Any:
    names = [f"m{number}" for number in range(len(values))]
    sizes = of or [100] * len(values)
    models = {name: run(4 * 2**number) for number, name in enumerate(names)}
    # The order of the recipe is not that of size.
    models = dict(reversed(models.items()))
    ceilings = [ceiling(name, value, n) for name, value, n in zip(names, values, sizes, strict=True)]
    return model_trend_rows(model_size_rows(models, ceilings, (), (0.3, 0.75)), 0.95, 0)


def test_five_models_can_show_a_trend_and_four_cannot() -> None:
    (five,) = trends([0.1, 0.2, 0.3, 0.4, 0.5])
    assert five.verdict == "rises"
    assert (five.slope, five.low, five.high) == pytest.approx((0.1, 0.1, 0.1))
    assert five.p == pytest.approx(2 / 120)
    (four,) = trends([0.4, 0.3, 0.2, 0.1])
    assert (four.tau, four.verdict, four.low) == (-1, "cannot tell", None)
    assert "with 4 models the smallest p that a result could have is 0.083" in four.sentence
    assert trends([0.1, 0.2]) == ()


def test_a_share_of_layers_is_one_series_in_models_of_any_depth() -> None:
    (row,) = trends([0.1, 0.2, 0.3, 0.4, 0.5], of=[24, 30, 28, 36, 12])
    assert row.models == 5
    assert row.subject == "ila on d, top 30 %"


def test_the_gain_kept_has_the_interval_of_its_run_where_that_is_bounded() -> None:
    rows = model_size_rows({"a": run(4, share=0.8), "b": run(8, share=0.9, shape="everything")}, (), (), (0.3,))
    assert [(row.model, row.value, row.low, row.weights, row.blocks) for row in rows] == [
        ("a", 0.8, pytest.approx(0.6), 4, 2),
        ("b", 0.9, None, 8, 2),
    ]
    assert {row.quantity for row in rows} == {"gain kept"}


@pytest.mark.parametrize(
    "odd",
    [{"moved": AssayResult.NOT_SHOWN}, {"moved": AssayResult.LOSS}, {"shape": "everything"}, {"shape": "two rays"}],
)
def test_a_share_of_a_gain_that_is_not_shown_is_no_point_of_a_trend(odd: dict[str, Any]) -> None:
    # The share changes its sign with the gain.
    models = {f"m{n}": run(4 * 2**n, share=0.5 + n / 10) for n in range(4)}
    models["odd"] = run(64, share=-7.0, control=-5.0, **odd)
    rows = model_size_rows(models, (), (), (0.3,))
    assert [row.model for row in rows if not row.tested] == ["odd", "odd"]
    (trend,) = model_trend_rows(rows, 0.95, 0)
    assert (trend.models, trend.tau) == (4, 1)


def test_the_gain_of_the_random_control_is_shown_as_well_and_not_tested() -> None:
    models = {name: run(size, share=0.8, control=0.5) for name, size in (("a", 4), ("b", 8), ("c", 16))}
    rows = model_size_rows(models, (), (), (0.3,))
    assert {(row.subject, row.value) for row in rows} == {
        ("ila-30 on d: heldout/d, loss", 0.8),
        ("drawn on d: heldout/d, loss", 0.5),
    }
    varied = [row.model_copy(update={"value": row.value + row.weights / 100}) for row in rows]
    assert [row.subject for row in model_trend_rows(varied, 0.95, 0)] == ["ila-30 on d: heldout/d, loss"]


def test_agreement_with_the_largest_is_that_of_its_own_layers() -> None:
    models = {name: run(size) for name, size in (("large", 16), ("small", 4), ("middle", 8))}
    pairs = [
        pair("small", "large", 0.2),
        pair("large", "small", 0.6),
        pair("small", "middle", 0.9),
        pair("middle", "large", 0.3),
    ]
    rows = model_size_rows(models, (), pairs, (0.3,))
    assert [(row.model, row.quantity, row.value, row.low, row.high) for row in rows] == [
        ("small", "agreement with large", 0.2, pytest.approx(0.1), pytest.approx(0.3)),
        ("middle", "agreement with large", 0.3, pytest.approx(0.2), pytest.approx(0.4)),
    ]


def test_a_model_that_two_runs_used_counts_once() -> None:
    found = {
        "tiny": run(4, bridge(0.5, 0.2), share=0.8, model="pypi:a"),
        "again": run(4, bridge(0.5, 0.2), share=0.8, model="pypi:a"),
        "other": run(8, bridge(0.4, 0.2), share=0.9, model="pypi:b"),
    }
    study: Any = SimpleNamespace(recipe=recipe_of(FEW), fractions=(0.3,))
    studies = Studies.of(found, [study], (), ())
    assert [row.model for row in studies.sizes] == ["tiny", "other"]
    assert [row.model for row in studies.bridges] == ["tiny", "other"]
    assert {row.models for row in studies.summaries} == {2}
    assert studies.repeated == {"again": "tiny"}
    page = render_markdown(Document("s", (), "", (), study_sections(studies)))
    assert page.count("again is the same model as tiny in these runs") == 2


def test_a_verdict_for_a_model_is_corrected_for_all_of_them() -> None:
    models = {"a": run(4, bridge(0.6, 0.004)), "b": run(8, bridge(-0.5, 0.03)), "c": run(8, bridge(None, None))}
    rows = model_bridge_rows(models)
    assert [(row.verdict, row.adjusted_p) for row in rows] == [
        ("together", pytest.approx(0.008)),
        ("apart", pytest.approx(0.03)),
        ("no test", None),
    ]
    models["d"] = run(8, bridge(0.1, 0.9))
    assert [row.verdict for row in model_bridge_rows(models)] == ["together", "cannot tell", "no test", "cannot tell"]


def test_over_models_the_interval_is_that_of_the_mean_of_fishers_z() -> None:
    values = [0.5, 0.4, 0.6, 0.45]
    rows = model_bridge_rows({str(n): run(4, bridge(value, 0.2, value)) for n, value in enumerate(values)})
    summaries = {row.quantity: row for row in bridge_summary_rows(rows)}
    z = np.arctanh(values)
    low, high = np.tanh(stats.t.interval(0.95, 3, z.mean(), stats.sem(z)))
    for row in summaries.values():
        assert (row.low, row.high, row.mean) == pytest.approx((low, high, np.tanh(z.mean())))
        assert row.p == pytest.approx(stats.ttest_1samp(z, 0).pvalue)
        assert (row.verdict, row.models, row.least, row.most) == ("together", 4, 0.4, 0.6)
    assert "beyond depth" in summaries["residual"].sentence


def test_over_models_a_verdict_is_corrected_for_every_pair_of_scorers_and_both_correlations() -> None:
    values = {"ila": [0.5, 0.2, 0.3, 0.6], "weight-change": [0.1, -0.2, 0.15, -0.1]}
    models = {
        str(n): run(
            4, *(bridge(of[n], 0.2, of[n]).model_copy(update={"plasticity": name}) for name, of in values.items())
        )
        for n in range(4)
    }
    rows = bridge_summary_rows(model_bridge_rows(models))
    p = [stats.ttest_1samp(np.arctanh(values[row.plasticity]), 0).pvalue for row in rows]
    assert [row.adjusted_p for row in rows] == pytest.approx(multipletests(p, method="holm")[1].tolist())
    first = next(row for row in rows if (row.plasticity, row.quantity) == ("ila", "residual"))
    assert first.low is not None
    assert first.low > 0, "an interval of one test would say that they go together"
    assert first.verdict == "cannot tell"
    assert f"p {first.p:.3f}, corrected for 4 tests {first.adjusted_p:.3f}" in first.sentence


@pytest.mark.parametrize("values", [[0.6, -0.5, 0.1], [0.9, 0.9]])
def test_models_that_differ_or_are_too_few_do_not_tell(values: list[float]) -> None:
    rows = model_bridge_rows({str(n): run(4, bridge(value, 0.2, value)) for n, value in enumerate(values)})
    for row in bridge_summary_rows(rows):
        assert row.verdict == "cannot tell"
        assert (row.low is None) is (len(values) < 3)
    assert bridge_summary_rows(rows[:1]) == ()
