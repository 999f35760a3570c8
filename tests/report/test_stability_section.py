from __future__ import annotations

from types import SimpleNamespace

import pytest

from layersig.report.document import Paragraph, Table
from layersig.topics.stability.overlap_section import beyond_type_and_depth
from layersig.topics.stability.rows import RESIDUAL_TESTS, ResidualTestRow, StabilityRow
from layersig.topics.stability.section import _known


def residual_row(**changes: object) -> ResidualTestRow:
    row = ResidualTestRow(
        a="ila/d",
        b="norm/d",
        modules=182,
        runs_a=3,
        runs_b=3,
        pairs=6,
        one_seed=False,
        correlation=0.31,
        low=0.12,
        high=0.5,
        level=0.95,
        p=0.004,
        adjusted_p=0.012,
        draws=2000,
    )
    return row.model_copy(update=changes)


@pytest.mark.parametrize("one_seed", [False, True])
def test_residual_tests_show_the_corrected_p_and_the_limit_at_the_ends(one_seed: bool) -> None:
    rows = (residual_row(one_seed=one_seed), residual_row(b="size/d", correlation=-0.2, low=None, high=None))
    material = SimpleNamespace(findings={RESIDUAL_TESTS: rows})
    _, about, table = beyond_type_and_depth(material)  # type: ignore[arg-type]
    assert isinstance(about, Paragraph)
    assert isinstance(table, Table)
    assert "not where more than two blocks at an end are unlike the rest" in "".join(map(str, about.text))
    assert ("marked *" in "".join(map(str, about.text))) == one_seed
    assert table.rows[0][2:] == ("0.31 [0.12, 0.50]", "6*" if one_seed else "6", "0.004", "0.012")
    assert table.rows[1][2] == "\u22120.20 [\u2013, \u2013]"


@pytest.mark.parametrize(
    ("lower", "said"),
    [(0.04, "agree on single layers beyond"), (-0.02, "are not shown to agree"), (None, "cannot be decided")],
)
def test_what_is_known_of_single_layers_follows_the_bound_and_never_denies(lower: float | None, said: str) -> None:
    row = StabilityRow(
        scorer="ila", checkpoint=None, data="d", k=63, of=210, quantity="residual agreement", value=0.1, se=0.03,
        df=4, low=0.0, high=0.2, lower=lower, level=0.95, runs=5, data_sets=1, left_out="a run",
    )  # fmt: skip
    assert said in _known(row)
    assert "nothing" not in _known(row)
