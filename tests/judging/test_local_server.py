"""A real server with a real model behind the judge's endpoint: `transformers serve` with the embedded model."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from layersig.judging.stages import compare, grade
from layersig.sources.embedded import EmbeddedSources
from layersig.sources.source import Request
from layersig.store.cache import cache_root
from tests.judging.server import Judge, sensible
from tests.judging.world import answered, job_of, judged

pytestmark = [pytest.mark.slow, pytest.mark.network]

ARM = [answered("1", "Paris is the capital of France.")]
BASELINE = [answered("1", "I do not know.")]


@pytest.fixture(scope="module")
def model() -> Path:
    return EmbeddedSources().load("model", "smollm2-135m-instruct", Request(Path(), cache_root())).path


@pytest.fixture(scope="module")
def url(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    for package in ("fastapi", "uvicorn", "openai"):
        pytest.importorskip(package, reason="pip install 'layersig[serving]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("transformers"), "serve", model, "--port", str(port), "--device", "cpu"]
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    with log.open("w") as out, subprocess.Popen(list(map(str, command)), stdout=out, stderr=out) as server:
        try:
            deadline = time.monotonic() + 180
            while not _answers(f"http://localhost:{port}/health"):
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.5)
            yield f"http://localhost:{port}/v1"
        finally:
            server.terminate()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def test_a_served_model_judges(tmp_path: Path, model: Path, url: str) -> None:
    server = Judge(url, sensible)
    few = {"model": str(model), "attempts": 1, "max_tokens": 24, "timeout": 300.0, "concurrency": 1}
    job = job_of(tmp_path / "grades", server, {"answers": ARM}, repeats=2, **few)
    grade(job)
    found = judged(job)
    assert len(found) == 2
    assert all(any(reply for reply in each.replies) for each in found)
    assert all(each.verdict is None or 1 <= float(each.verdict) <= 10 for each in found)
    assert {each.model for each in found if each.model} == {f"{model}@main"}
    assert all(each.created is not None and each.tokens > 100 for each in found)
    assert found[0].replies == found[1].replies, "greedy on one machine, the judge repeats itself"

    job = job_of(tmp_path / "pairs", server, {"answers": ARM, "reference": BASELINE}, repeats=1, **few)
    compare(job)
    assert [each.key.order for each in judged(job)] == ["arm-first", "arm-second"]
    asked = job.cost["tokens"]
    compare(job)
    assert job.cost["tokens"] == asked > 0
