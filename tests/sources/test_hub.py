from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from layersig.errors import LayersigError, MachineError, UserError
from layersig.sources import hub
from layersig.sources.files import digest_model
from layersig.sources.hub import Hub
from layersig.sources.source import Request
from tests.sources.hub_server import HubServer, Repo, hub_server, no_robots, parquet, use_hub
from tests.tiny import save_tiny


def _rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return list(pyarrow.parquet.read_table(path).to_pylist())
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


CARD = b"""---
license: cc-by-nc-4.0
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
  - split: test
    path: data/test-*
---
# Card
"""
DATA = Repo(
    "lab/no_robots",
    "dataset",
    {
        "README.md": CARD,
        "data/train-00000-of-00002.parquet": parquet(no_robots(3, "train")),
        "data/train-00001-of-00002.parquet": parquet(no_robots(2, "more")),
        "data/test-00000-of-00001.parquet": parquet(no_robots(1, "test")),
    },
)
PLAIN = Repo("lab/plain", "dataset", {"chats.jsonl": b'{"prompt": "a", "response": "b"}\n'})
PARTS = Repo(
    "lab/parts",
    "dataset",
    {"train-0.json": b'[{"a": "\xe2\x80\xa8"},\n {"a": "2"}]', "train-1.json": b'{"a": "3"}', "test.json": b"[]"},
)
MIXED = Repo("lab/mixed", "dataset", {"a.jsonl": b'{"a": "1"}\n', "b.json": b'[{"a": "2"}]'})
TORN = Repo("lab/torn", "dataset", {"train-0.parquet": b"PAR1", "train-1.parquet": b""})
GATED = Repo("lab/gated", "model", {"config.json": b"{}"}, access="gated")
GATED_DATA = Repo("lab/gated", "dataset", DATA.files, access="gated")
PRIVATE = Repo("lab/private", "model", {}, access="bad-token")
BROKEN = Repo("lab/broken", "dataset", {}, access="broken")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> Repo:
    files = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    junk = {"pytorch_model.bin": b"pickle", "original/x.safetensors": b"x", "consolidated.safetensors": b"x"}
    return Repo("lab/tiny", "model", {**files, **junk, "README.md": b"---\nlicense: mit\n---\n"})


@pytest.fixture
def server(model: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with hub_server(model, DATA, PLAIN, PARTS, MIXED, TORN, GATED, GATED_DATA, PRIVATE, BROKEN) as running:
        use_hub(monkeypatch, running.url, tmp_path / "home")
        yield running


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    return Request(tmp_path, tmp_path / "cache")


def _gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path / "home")  # the discard port: nothing listens


def test_a_model_is_fetched_pinned_and_loads(
    server: HubServer, model: Repo, checkpoint: Path, request_: Request
) -> None:
    source = Hub().load("model", "lab/tiny", request_)
    assert source.revision == model.commit
    assert source.resolved == f"hub:lab/tiny@{model.commit}"
    assert (source.label, source.licence) == ("tiny", "mit")
    assert source.digest == digest_model(checkpoint, request_.cache)
    loaded = AutoModelForCausalLM.from_pretrained(source.path)
    original = AutoModelForCausalLM.from_pretrained(checkpoint)
    assert all((a == b).all() for a, b in zip(loaded.parameters(), original.parameters(), strict=True))
    assert AutoTokenizer.from_pretrained(source.path)("hello").input_ids
    assert not any("pytorch_model" in each or "/x.safe" in each or "consol" in each for each in server.requests)


def test_data_hold_the_rows_of_the_split_and_nothing_else_is_fetched(server: HubServer, request_: Request) -> None:
    source = Hub().load("data", "lab/no_robots", request_)
    assert _rows(source.path) == no_robots(3, "train") + no_robots(2, "more")
    assert (source.licence, source.revision) == ("cc-by-nc-4.0", DATA.commit)
    assert not any("test-00000" in each for each in server.requests)
    test = Hub().load("data", f"lab/no_robots@{DATA.commit}", replace(request_, split="test"))
    assert _rows(test.path) == no_robots(1, "test")
    assert test.digest != source.digest


def test_a_repository_without_a_card_has_no_licence(server: HubServer, request_: Request) -> None:
    source = Hub().load("data", "lab/plain", request_)
    assert _rows(source.path) == [{"prompt": "a", "response": "b"}]
    assert source.licence is None


def test_json_files_are_merged_into_lines(server: HubServer, request_: Request) -> None:
    source = Hub().load("data", "lab/parts", request_)
    assert source.path.name == "train.jsonl"
    assert _rows(source.path) == [{"a": "\u2028"}, {"a": "2"}, {"a": "3"}]


def test_the_user_hears_of_files_that_are_not_read(server: HubServer, request_: Request) -> None:
    told: list[str] = []
    source = Hub().load("data", "lab/mixed", replace(request_, warn=told.append))
    assert _rows(source.path) == [{"a": "1"}]
    assert [note for note in told if "read from a.jsonl; b.json of another format is not" in note] == told != []


def test_harm_to_our_copy_is_mended_from_the_hubs(server: HubServer, request_: Request) -> None:
    source = Hub().load("data", "lab/plain", request_)
    source.path.write_text("harm")
    warnings: list[str] = []
    again = Hub().load("data", "lab/plain", replace(request_, warn=warnings.append))
    assert again == source
    assert _rows(again.path) == [{"prompt": "a", "response": "b"}]
    assert len(warnings) == 1


@pytest.mark.parametrize("flag", [True, False])
def test_what_was_fetched_is_there_without_a_network(
    server: HubServer, request_: Request, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flag: bool
) -> None:
    wanted = [("model", "lab/tiny"), ("model", "lab/tiny@main"), ("data", "lab/no_robots"), ("data", "lab/plain")]
    before = [Hub().load(kind, reference, request_) for kind, reference in wanted]  # type: ignore[arg-type]
    _gone(monkeypatch, tmp_path)
    for (kind, reference), source in zip(wanted, before, strict=True):
        again = Hub().load(kind, reference, replace(request_, offline=flag))  # type: ignore[arg-type]
        assert replace(again, notes=()) == source
        assert bool(again.notes) is not flag
    with pytest.raises(MachineError, match=r"split 'test' of commit .* not on this machine.*`layersig fetch RECIPE`"):
        Hub().load("data", "lab/no_robots", replace(request_, split="test", offline=flag))


def test_without_a_network_nor_a_copy_it_fails_fast_and_as_the_machine(
    request_: Request, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _gone(monkeypatch, tmp_path)
    start = monotonic()
    with pytest.raises(MachineError, match="hub:lab/tiny cannot be reached"):
        Hub().load("model", "lab/tiny", request_)
    assert monotonic() - start < 3
    with pytest.raises(MachineError, match=r"--offline forbids fetching it; run `layersig fetch RECIPE`"):
        Hub().load("model", "lab/tiny", replace(request_, offline=True))


def test_a_hub_that_does_not_answer_is_given_up(
    request_: Request, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import socket

    monkeypatch.setattr(hub, "TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        use_hub(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path / "home")
        start = monotonic()
        with pytest.raises(MachineError, match="cannot be reached"):
            Hub().load("data", "lab/plain", request_)
        assert monotonic() - start < 3


@pytest.mark.parametrize(
    ("kind", "reference", "error", "message"),
    [
        ("model", "lab/gated", UserError, "is gated: .*`hf auth login` or set HF_TOKEN"),
        ("data", "lab/gated", UserError, "is gated"),
        ("model", "lab/private", UserError, "HF_TOKEN"),
        ("model", "lab/nowhere", UserError, "hub:lab/nowhere was not found"),
        ("model", "lab/tiny@v9", UserError, "hub:lab/tiny@v9: the repository has no such revision"),
        ("model", "a/b/c", UserError, "a/b/c"),
        ("data", "lab/tiny", UserError, "not found"),
        ("data", "lab/torn", UserError, "hub:lab/torn: the files of split 'train' cannot be joined"),
        ("data", "lab/broken", MachineError, "answered with an error .*500"),
    ],
)
def test_refusals_are_told_apart(
    server: HubServer, request_: Request, kind: Any, reference: str, error: type[LayersigError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        Hub().load(kind, reference, request_)
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("split", ["nope", "../x", ""])
def test_unknown_splits_are_the_users(server: HubServer, request_: Request, split: str) -> None:
    with pytest.raises(UserError, match="split"):
        Hub().load("data", "lab/no_robots", replace(request_, split=split))


def test_a_model_without_safetensors_is_refused(
    request_: Request, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: Repo
) -> None:
    pickled = replace(
        model, files={name: raw for name, raw in model.files.items() if not name.endswith(".safetensors")}
    )
    with hub_server(pickled) as running:
        use_hub(monkeypatch, running.url, tmp_path / "home")
        with pytest.raises(UserError, match=r"neither model\.safetensors"):
            Hub().load("model", "lab/tiny", request_)


def test_a_new_process_finds_the_hub_in_its_environment(server: HubServer, tmp_path: Path) -> None:
    code = (
        "import json, pathlib, sys; from layersig.sources.hub import Hub; from layersig.sources.source import Request;"
        "here = pathlib.Path(sys.argv[1]);"
        "print(json.dumps(str(Hub().load('data', 'lab/no_robots', Request(here, here / 'cache')).path)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, **server.environment(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(_rows(Path(json.loads(done.stdout)))) == 5
