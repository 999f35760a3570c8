from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.training.world import write_inputs


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """What a training stage reads, by role: a tiny Llama, random examples, its layers, and two of them selected."""
    return write_inputs(tmp_path_factory.mktemp("inputs"))
