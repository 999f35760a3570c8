"""What a plan must not wait for."""

from __future__ import annotations

import subprocess
import sys

import pytest

COUNTS = """
import sys
from layersig.fast.head import LOGIT_ELEMENTS
from layersig.fast.profile import ATTENTION_SLOWNESS, LARGEST_PREFIX, LOGIT_ROWS
from layersig.models.layermap import layer_map
from layersig.planning import costs, disk, memory, scorers, shapes, trainings
from layersig.training.methods import lora
print("peft" in sys.modules, "bitsandbytes" in sys.modules)
"""


@pytest.mark.slow
def test_counting_passes_and_bytes_imports_no_peft() -> None:
    """PEFT brings bitsandbytes, which brings torch's compiler: five seconds of the processor."""
    ran = subprocess.run([sys.executable, "-c", COUNTS], capture_output=True, text=True, check=True, timeout=300)
    assert ran.stdout.split() == ["False", "False"]
