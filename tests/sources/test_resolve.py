from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from layersig.errors import LayersigError, MachineError, UserError
from layersig.sources.resolve import LOADERS, resolve, resolve_with_fallback
from layersig.sources.source import Kind, Request, Source


@dataclass
class Fake:
    """A loader that answers with what it is told."""

    answer: LayersigError | None = None
    kinds: frozenset[Kind] = frozenset({"data"})

    def load(self, kind: Kind, reference: str, request: Request) -> Source:
        if self.answer is not None:
            raise self.answer
        return Source("", f"fake:{reference}", reference, kind, Path("x"), None, "0" * 64, "MIT", ("a note",))


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    return Request(tmp_path, tmp_path / "cache")


def test_a_plugins_scheme_stands_beside_the_built_in_ones(request_: Request) -> None:
    source = resolve("s3:bucket/x", "data", request_, name="mine", loaders={**LOADERS, "s3": Fake()})
    assert (source.spec, source.resolved, source.label) == ("s3:bucket/x", "fake:bucket/x", "mine")
    assert not source.fallback


@pytest.mark.parametrize(
    ("spec", "kind", "message"),
    [
        ("hug:a/b", "model", r"did you mean hub:\? Allowed: hub:\.\.\., path:\.\.\., pypi:\.\.\."),
        ("path:x", "data", r"names no data source. Allowed: file:\.\.\., hub:\.\.\., pypi:\.\.\."),
        ("hub:", "model", "names no model source"),
        ("gpt2", "model", "names no model source"),
        (
            "pypi:alpaca",
            "data",
            "no embedded data set of that name; there are alpaca-gpt4-sample, preference-sample, tinker-conversations",
        ),
        ("pypi:gpt2", "model", "no embedded model of that name; there are smollm2-135m-instruct"),
        ("pypi:gsm8k", "benchmark", "no embedded benchmark of that name; there are arc_challenge"),
    ],
)
def test_a_wrong_spec_is_answered_with_what_is_allowed(request_: Request, spec: str, kind: Kind, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve(spec, kind, request_)


def test_a_fallback_stands_in_and_says_so_everywhere(request_: Request) -> None:
    loaders = {"down": Fake(MachineError("down:lab/no_robots cannot be reached (x)")), "up": Fake()}
    source = resolve_with_fallback(
        "down:lab/no_robots", "up:sample", "data", request_, name="norobots", loaders=loaders
    )
    assert source.label == "norobots>sample"
    assert source.resolved == "fake:sample"
    assert source.spec == "down:lab/no_robots"
    assert source.fallback
    assert source.licence == "MIT"
    assert "cannot be reached" in source.notes[0]
    assert source.notes[1:] == ("a note",)
    unnamed = resolve_with_fallback("down:lab/no_robots@v1", "up:sample", "data", request_, loaders=loaders)
    assert unnamed.label == "no_robots>sample"


def test_a_source_that_is_reached_needs_no_fallback(request_: Request) -> None:
    loaders = {"up": Fake(), "never": Fake(AssertionError())}  # type: ignore[arg-type]
    source = resolve_with_fallback("up:a", "never:b", "data", request_, loaders=loaders)
    assert (source.label, source.fallback) == ("a", False)


def test_only_what_cannot_be_reached_falls_back(request_: Request) -> None:
    loaders = {"wrong": Fake(UserError("is gated")), "down": Fake(MachineError("is down")), "up": Fake()}
    with pytest.raises(UserError, match="is gated"):
        resolve_with_fallback("wrong:a", "up:b", "data", request_, loaders=loaders)
    with pytest.raises(MachineError, match=r"^is down$"):
        resolve_with_fallback("down:a", None, "data", request_, loaders=loaders)
    with pytest.raises(MachineError, match="is down; --strict forbids its fallback up:b"):
        resolve_with_fallback("down:a", "up:b", "data", request_, strict=True, loaders=loaders)
    with pytest.raises(MachineError, match="is down; its fallback cannot be reached either: is down"):
        resolve_with_fallback("down:a", "down:b", "data", request_, loaders=loaders)
