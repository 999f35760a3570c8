"""The two halves of `make gpu`, each within ten minutes: what takes longer is cut, and the page says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.gpu.cases import CASES

LIMIT = 590.0
"""Seconds of a half."""
_ROOT = Path(__file__).parents[2]
_SHOWN = 400


def measured(device: str, *, tiny: bool, names: list[str] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every case by name, with its rows and notes, as soon as it has ended or its time has."""
    until = time.monotonic() + LIMIT
    for name, case in CASES.items():
        if names and name not in names:
            continue
        limit = min(float(case.seconds), until - time.monotonic())
        yield name, _case(name, device, tiny, limit)


def _case(name: str, device: str, tiny: bool, limit: float) -> dict[str, Any]:
    found: dict[str, Any] = {"rows": [], "notes": []}
    if limit < 1:
        return found | {"notes": ["Not begun: the ten minutes were over."]}
    command = [sys.executable, "-m", "tests.gpu.case", name, device, *(["tiny"] if tiny else [])]
    began = time.monotonic()
    output, errors, code = _run(command, limit)
    for line in output.splitlines():
        if line.startswith('{"'):
            value = json.loads(line)
            found["rows" if "row" in value else "notes"].append(value.get("row", value.get("note")))
    if code is None:
        found["notes"].append(f"Cut after {limit:.0f} seconds, its share of the time; the rest was not measured.")
    elif code:
        found["notes"].append(f"Failed, so what is missing was not measured: {_last(errors)}")
    return found | {"seconds": round(time.monotonic() - began), "failed": bool(code)}


def _run(command: list[str], limit: float) -> tuple[str, str, int | None]:
    """Output, errors and exit code of a process; None if it was ended at the limit."""
    places = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]  # what a bare machine lacks may lie anywhere
    variables = {"PYTHONPATH": os.pathsep.join(places), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors, cwd=_ROOT, env=os.environ | variables)
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = None
        output.seek(0)
        errors.seek(0)
        return output.read(), errors.read(), code


def _last(errors: str) -> str:
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return lines[-1][:_SHOWN] if lines else "no message"


def tested(device: str) -> dict[str, Any]:
    """Outcome, seconds and message of every test marked `cuda`."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "tests.jsonl"
        options = ["-m", "cuda", "-q", "-p", "no:cacheprovider", "-W", "default", f"--gpu-device={device}"]
        command = [sys.executable, "-m", "pytest", "tests/gpu", *options, f"--gpu-log={log}"]
        began = time.monotonic()
        output, errors, code = _run(command, LIMIT)
        rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    notes = []
    if code is None:
        notes.append(f"Cut after {LIMIT:.0f} seconds; the tests that are not listed did not run.")
    elif code not in (0, 1):
        notes.append(f"pytest ended with {code}: {_last(errors or output)}")
    failed = code != 0 or any(row["outcome"] == "failed" for row in rows)
    return {"tests": rows, "notes": notes, "seconds": round(time.monotonic() - began), "failed": failed}


def machine(device: str) -> Mapping[str, Any]:
    """What it was measured on."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import torch

    from layersig.models.accelerator import accelerator
    from layersig.models.devices import pick_device

    found: dict[str, Any] = {"device": device, **accelerator(pick_device(device)), "python": platform.python_version()}
    found["torch"] = torch.__version__  # of a build, its metadata have no suffix
    for name in ("transformers", "peft", "trl", "lm_eval", "bitsandbytes", "triton"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
