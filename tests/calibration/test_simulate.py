import numpy as np
import pytest

from layersig.analysis.rankcorr import spearman
from layersig.analysis.twoway import mean_squares
from tests.calibration.simulate import BLOCKS, TYPES, Depth, decoder_grid, score_fields, table_mean_squares


def test_fields_have_the_declared_dependence():
    fields = decoder_grid().fields(score_fields(np.random.default_rng(0), (4000,), Depth(0.5, 0.3)))
    assert fields.shape == (4000, BLOCKS, TYPES)
    assert fields.var() == pytest.approx(1.0, abs=0.02)
    assert (fields[:, 1:] * fields[:, :-1]).mean() == pytest.approx(0.5, abs=0.02)
    assert (fields[:, :, 0] * fields[:, :, 1]).mean() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("heavy", [False, True])
def test_sufficient_statistics_have_the_law_of_whole_tables(heavy: bool):
    rng = np.random.default_rng(1)
    seeds, items, seed_load, item_load = 4, 30, 3.0, 2.0

    def effects(size: tuple[int, ...]) -> np.ndarray:
        return rng.standard_t(3, size) / 3**0.5 if heavy else rng.standard_normal(size)

    tables = [
        mean_squares(
            rng.standard_normal((seeds, items))
            + (seed_load / items) ** 0.5 * effects((seeds, 1))
            + (item_load / seeds) ** 0.5 * effects((items,))
        )
        for _ in range(6000)
    ]
    drawn = table_mean_squares(rng, 6000, seeds, items, seed_load, item_load, heavy)
    for name in ("mean", "seed", "item", "residual"):
        whole, short = (
            np.quantile([getattr(ms, name) for ms in sample], [0.1, 0.5, 0.9]) for sample in (tables, drawn)
        )
        np.testing.assert_allclose(short, whole, rtol=0.08, atol=0.02, err_msg=name)
    whole_bond, short_bond = (spearman(*np.array([(abs(ms.mean), ms.item) for ms in s]).T) for s in (tables, drawn))
    assert short_bond == pytest.approx(whole_bond, abs=0.05)
