"""Tests of this folder run on a GPU, or where `--gpu-device` says; without one they are skipped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from layersig.models.devices import free, pick_device
from tests.gpu.shapes import Setting

_FOLDER = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--gpu-device", default="cuda", help="where the tests of tests/gpu run; cpu makes shapes tiny")
    parser.addoption("--gpu-log", type=Path, help="a line of JSON for every test that ends")


def _wanted(config: pytest.Config) -> str:
    return str(config.getoption("--gpu-device", default="cuda"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    missing = _wanted(config).startswith("cuda") and not torch.cuda.is_available()
    for item in items:
        if _FOLDER in item.path.parents and item.get_closest_marker("cuda"):
            if missing:
                item.add_marker(pytest.mark.skip(reason="no CUDA device here; `make gpu` runs it where there is one"))
            elif item.get_closest_marker("card") and not _wanted(config).startswith("cuda"):
                item.add_marker(pytest.mark.skip(reason="asks for what only a card has"))


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    log = item.config.getoption("--gpu-log", default=None)
    if log is None or (call.when != "call" and call.excinfo is None):
        return
    skipped = call.excinfo is not None and call.excinfo.errisinstance(pytest.skip.Exception)
    outcome = "passed" if call.excinfo is None else "skipped" if skipped else "failed"
    message = "" if call.excinfo is None else str(call.excinfo.value).strip().partition("\n")[0][:300]
    name = item.nodeid.removeprefix("tests/gpu/")
    with log.open("a") as file:
        file.write(json.dumps({"test": name, "outcome": outcome, "seconds": call.duration, "message": message}) + "\n")


@pytest.fixture
def device(request: pytest.FixtureRequest) -> torch.device:
    found = pick_device(_wanted(request.config))
    free(found)
    return found


@pytest.fixture
def setting(device: torch.device) -> Setting:
    return Setting(device, tiny=device.type == "cpu")


@pytest.fixture
def moved(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """The tiny models of the tests that compare fast paths with their plain twins lie on the device."""
    from tests.fast import twins
    from tests.training import world

    for module in (twins, world):
        own = module.tiny_model
        monkeypatch.setattr(module, "tiny_model", lambda *args, own=own, **kw: own(*args, **kw).to(device))
    return device
