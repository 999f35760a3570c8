"""What tests of confined programs share."""

from __future__ import annotations

import time
from dataclasses import replace

import psutil
import pytest

from layersig.sandbox import Execution, Limits, refusal, run

confined = pytest.mark.skipif(refusal() is not None, reason=str(refusal()))
SMALL = Limits(seconds=20, memory=1 << 28, output=1 << 16)
SHORT = replace(SMALL, seconds=2)
ROOMY = replace(SMALL, memory=1 << 30)


def hostile(program: str, limits: Limits = SMALL) -> tuple[Execution, float]:
    """The end of a hostile program and the seconds that took; nothing of it may be left."""
    began = time.monotonic()
    found = run(program, limits)
    seconds = time.monotonic() - began
    assert [
        child for child in psutil.Process().children(recursive=True) if "launch.py" in " ".join(child.cmdline())
    ] == []
    return found, seconds


def kind(found: Execution) -> str:
    return found.kinds[0] if found.kinds else found.ended
