"""What some tests of packages need."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

_FOUND = find_spec("hatchling") and find_spec("editables")

builds = pytest.mark.skipif(not _FOUND, reason="hatchling and editables build packages: make dev")
