from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """lm-eval warns through logging about everything that a test does on purpose."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)
