from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from layersig.models import accelerator as module
from layersig.models.accelerator import accelerator, driver


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\nGCC 11.4.0\n",
            "535.129.03",
        ),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n", "570.86.15"),
        ("something else\nGCC version: 12.1\n", None),
        ("", None),
    ],
)
def test_the_driver_is_read_where_the_kernel_tells_it(tmp_path: Path, text: str, version: str | None) -> None:
    (tmp_path / "version").write_text(text)
    assert driver(tmp_path / "version") == version
    assert driver(tmp_path / "absent") is None


def test_a_cpu_is_no_accelerator() -> None:
    assert accelerator(torch.device("cpu")) == {}


def test_a_gpu_is_named_with_its_memory_and_what_serves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    about = SimpleNamespace(
        name="NVIDIA A100-SXM4-80GB", total_memory=85_198_045_184, multi_processor_count=108, major=8, minor=0
    )
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: about)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    monkeypatch.setattr(module, "driver", lambda: "570.86.15")
    assert accelerator(torch.device("cuda:1")) == {
        "accelerator": "NVIDIA A100-SXM4-80GB",
        "accelerator_gib": 79.3,
        "multiprocessors": 108,
        "capability": "8.0",
        "driver": "570.86.15",
        "cudnn": "91002",
        "cuda": "12.8",
    }
