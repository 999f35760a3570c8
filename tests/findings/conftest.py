"""A run that several modules look at."""

from __future__ import annotations

import pytest

from layersig.topics.analyse import analyse
from tests.findings.rigor import MANY, Analysed
from tests.report.synthetic import write_run


@pytest.fixture(scope="package")
def many(tmp_path_factory: pytest.TempPathFactory) -> Analysed:
    """A study of five seeds, analysed once."""
    run = tmp_path_factory.mktemp("many") / "run"
    recipe = write_run(run, MANY)
    return Analysed(run, recipe, analyse(run, recipe))
