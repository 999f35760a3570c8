from pathlib import Path

import pytest

from tests.calibration.published import law_when_dropping, published_page


def test_page_in_the_docs_is_the_one_that_the_library_writes():
    page = Path(__file__).parents[2] / "docs" / "published-overlaps.md"
    assert page.read_text(encoding="utf-8") == published_page()


@pytest.mark.parametrize(("types", "chance"), [(7, 0.602), (4, 0.69), (3, 0.76), (2, 0.92)])
def test_types_alone(types: int, chance: float):
    assert law_when_dropping(225, 169, types).jaccard_mean == pytest.approx(chance, abs=0.005)
