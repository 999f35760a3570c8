import numpy as np
import pytest

from layersig.analysis.components import variance_components


def _components(fields, crossed, level=0.95):
    """With one sample of rows a data set, and one scoring a training: shape (data sets, seeds, blocks, types)."""
    return variance_components(fields[:, None, :, None], crossed, level)


def _fields(rng, data_sets, seeds, blocks, types, sd):
    shape = (data_sets, seeds, blocks, types)
    return (
        sd["type"] * rng.normal(size=types)
        + sd["depth"] * rng.normal(size=(blocks, 1))
        + sd["type x depth"] * rng.normal(size=(blocks, types))
        + sd["data set"] * rng.normal(size=(data_sets, 1, blocks, types))
        + sd["seed"] * rng.normal(size=(1, seeds, blocks, types))
        + sd["run"] * rng.normal(size=shape)
    )


@pytest.mark.parametrize("crossed", [True, False])
def test_shares_are_unbiased(crossed: bool):
    sd = {"type": 1.0, "depth": 0.7, "type x depth": 0.6, "data set": 0.5, "seed": 0.4 if crossed else 0.0, "run": 0.8}
    rng = np.random.default_rng(0)
    fits = [_components(_fields(rng, 3, 5, 20, 60, sd), crossed) for _ in range(30)]
    total = sum(v**2 for v in sd.values())
    names = [c.name for c in fits[0]]
    assert names == [name for name in sd if crossed or name != "seed"]
    for position, name in enumerate(names):
        share = np.mean([fit[position].share for fit in fits])
        assert share == pytest.approx(sd[name] ** 2 / total, abs=0.03), name


def test_degrees_of_freedom_are_those_of_the_sampled_level():
    rng = np.random.default_rng(1)
    sd = dict.fromkeys(("type", "depth", "type x depth", "data set", "seed", "run"), 1.0)
    crossed = {c.name: c for c in _components(_fields(rng, 3, 5, 10, 7, sd), True)}
    assert {name: c.df for name, c in crossed.items()} == {
        "type": 6, "depth": 3, "type x depth": 18, "data set": 2, "seed": 4, "run": 8,
    }  # fmt: skip
    assert crossed["data set"].interval is None
    assert crossed["run"].interval is not None
    assert crossed["run"].interval.contains(crossed["run"].variance)
    assert sum(c.share for c in crossed.values()) == pytest.approx(1)
    nested = {c.name: c.df for c in _components(_fields(rng, 3, 5, 10, 7, sd), False)}
    assert nested["run"] == 12
    assert [c.name for c in _components(_fields(rng, 1, 5, 10, 7, sd), False)] == [
        "type",
        "depth",
        "type x depth",
        "run",
    ]


def test_crossed_seeds_equal_the_textbook_anova():
    """Mean squares of one module column against statsmodels' two-way table."""
    import pandas as pd
    import statsmodels.formula.api as smf
    from statsmodels.stats.anova import anova_lm

    rng = np.random.default_rng(2)
    y = rng.normal(size=(3, 4, 6, 5))
    y -= y.mean(axis=(2, 3), keepdims=True)
    y /= np.sqrt((y**2).mean(axis=(2, 3), keepdims=True))
    components = {c.name: c.variance for c in _components(y, True)}
    squares = np.zeros(3)
    for module in y.reshape(3, 4, -1).transpose(2, 0, 1):
        d, s = np.meshgrid(range(3), range(4), indexing="ij")
        frame = pd.DataFrame({"y": module.ravel(), "d": d.ravel(), "s": s.ravel()})
        squares += anova_lm(smf.ols("y ~ C(d) + C(s)", frame).fit())["sum_sq"].to_numpy()
    data, seed, run = squares / (np.array([2, 3, 6]) * 29)
    assert components["run"] == pytest.approx(run, abs=1e-10)
    assert components["data set"] == pytest.approx((data - run) / 4, abs=1e-10)
    assert components["seed"] == pytest.approx((seed - run) / 3, abs=1e-10)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="fields must have shape"):
        _components(np.zeros((3, 1, 5, 5)), False)
    with pytest.raises(ValueError, match="crossed only"):
        _components(np.ones((1, 3, 5, 5)), True)


@pytest.mark.parametrize("part", ["depth", "type"])
@pytest.mark.parametrize(("data_sets", "crossed"), [(1, False), (2, True), (4, True), (3, False)])
def test_noise_that_moves_whole_blocks_or_types_is_no_common_profile(part: str, data_sets: int, crossed: bool):
    rng = np.random.default_rng(3)
    blocks, types = 20, 6

    def noise(*shape: int) -> np.ndarray:
        whole = (blocks, 1) if part == "depth" else (1, types)
        return 0.8 * rng.normal(size=(*shape, *whole)) + 0.6 * rng.normal(size=(*shape, blocks, types))

    found = []
    for _ in range(60):
        y = rng.normal(size=(blocks, types)) + noise(data_sets, 4)
        y = y + (0.5 * noise(data_sets, 1) if data_sets > 1 else 0) + (0.5 * noise(1, 4) if crossed else 0)
        found.append({c.name: c for c in _components(y, crossed)}[part])
    spread = np.std([c.variance for c in found]) / 60**0.5
    assert abs(np.mean([c.variance for c in found])) < 4 * spread
    assert np.mean([c.interval is not None and c.interval.low > 0 for c in found]) <= 0.1


def test_a_common_profile_is_found_and_its_interval_widens_with_the_level():
    rng = np.random.default_rng(4)
    y = 2 * rng.normal(size=(30, 1)) + rng.normal(size=(30, 7)) + 0.3 * rng.normal(size=(3, 5, 30, 7))
    wide, narrow = ({c.name: c for c in _components(y, True, level)}["depth"] for level in (0.95, 0.8))
    assert wide.share > 0.5
    assert wide.interval is not None
    assert narrow.interval is not None
    assert 0 < wide.interval.low < narrow.interval.low < wide.variance < narrow.interval.high < wide.interval.high


def test_noise_splits_into_scoring_run_seed_rows_and_data_sets():
    rng = np.random.default_rng(8)
    sd = {"data set": 0.7, "sample of rows": 0.5, "seed": 0.4, "run": 0.6, "scoring": 0.8}
    shapes = {
        "data set": (3, 1, 1, 1),
        "sample of rows": (3, 2, 1, 1),
        "seed": (1, 1, 5, 1),
        "run": (3, 2, 5, 1),
        "scoring": (3, 2, 5, 2),
    }
    fits = []
    for _ in range(30):
        fields = rng.normal(size=(20, 60)) + sum(
            sd[name] * rng.normal(size=(*shape, 20, 60)) for name, shape in shapes.items()
        )
        fits.append({c.name: c for c in variance_components(fields, True)})
    assert list(fits[0]) == ["type", "depth", "type x depth", *sd]
    total = 1 + sum(value**2 for value in sd.values())
    for name, value in sd.items():
        assert np.mean([fit[name].share for fit in fits]) == pytest.approx(value**2 / total, abs=0.03), name
    assert {name: fits[0][name].df for name in sd} == {
        "data set": 2, "sample of rows": 3, "seed": 4, "run": 20, "scoring": 30,
    }  # fmt: skip
    covered = [fit["sample of rows"].interval.contains(0.25 / total) for fit in fits]
    assert np.mean(covered) >= 0.9


@pytest.mark.parametrize("axis", [0, 1, 3])
def test_what_there_is_one_of_is_left_out(axis: int):
    shape = [3, 2, 4, 2, 6, 5]
    shape[axis] = 1
    names = [c.name for c in variance_components(np.random.default_rng(9).normal(size=shape), True)]
    missing = {0: "data set", 1: "sample of rows", 3: "scoring"}[axis]
    assert missing not in names
    assert len(names) == 7
