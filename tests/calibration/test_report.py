import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from tests.calibration.__main__ import STUDIES
from tests.calibration.claim_studies import families, margins
from tests.calibration.report import Study, Table, at_least, at_most, between, calibration_page, fill_tables

TABLE = Table("rates", "Rates.", ("case", "rate"), (("a", "5.0 %"),))
PAGE = Path(__file__).parents[2] / "docs" / "calibration.md"
STUDY = Study("A study", "Design.", (TABLE,), (at_most("size", [0.04, 0.07], 0.065),))


def test_targets_are_judged_by_their_worst_cell():
    assert not at_most("size", [0.04, 0.07], 0.065).met
    assert at_least("coverage", [0.95, 0.94], 0.935).met
    assert between("power", [0.8, 0.86], 0.75, 0.85).worst == 0.86
    assert between("power", [0.7, 0.84], 0.75, 0.85).worst == 0.7
    assert not between("power", [0.7, 0.84], 0.75, 0.85).met


def test_page_reports_a_missed_target():
    page = calibration_page([STUDY], 2000)
    assert "0 met, 1 missed" in page
    assert "| size | at most 6.5 % | 7.0 % | **missed** |" in page
    assert TABLE.markdown() in page


def test_tables_fill_their_place_and_only_that():
    page = "before\n<!-- table rates -->\nold\n<!-- end -->\nafter"
    filled = fill_tables(page, [STUDY])
    assert filled == f"before\n<!-- table rates -->\n{TABLE.markdown()}\n<!-- end -->\nafter"
    assert fill_tables(filled, [STUDY]) == filled
    with pytest.raises(KeyError):
        fill_tables("<!-- table other -->\n<!-- end -->", [STUDY])


@pytest.mark.parametrize("study", [margins, families])
def test_studies_repeat_under_their_seed(study):
    first, second = (study(3, np.random.default_rng(1)) for _ in range(2))
    assert first == second
    assert all(0 <= target.worst <= 1 for target in first.targets)


def test_the_page_has_a_section_for_every_study():
    titles = [re.search(r'\bStudy\(\s*"([^"]+)"', inspect.getsource(study))[1] for study in STUDIES]
    _, *sections = re.findall(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.M)  # targets come first
    assert sections == titles, "run `make calibrate`"
