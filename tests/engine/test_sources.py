from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import get_args, get_type_hints

import pytest

from layersig.engine.manifest import final_status
from layersig.engine.sources import PinnedSource, resolve_all
from layersig.errors import MachineError, UserError
from layersig.pipeline import Graph, SourceRef
from layersig.sources.kinds import SOURCE_KINDS, SourceKind
from layersig.sources.source import NamedSource, Request, Source


@dataclass
class Loader:
    """A plugin's loader whose newest revision is `new`; what was asked of it is in `asked`."""

    kinds: frozenset[str] = frozenset({"data", "questions"})
    asked: list[str] = field(default_factory=list)
    path: Path = Path("x")

    def create(self) -> Loader:
        return self

    def load(self, kind: str, reference: str, request: Request) -> Source:
        self.asked.append(reference)
        if reference == "down":
            raise MachineError("down: unreachable")
        name, _, revision = reference.partition("@")
        resolved = f"file:/{name}" if name == "here" else f"fake:{name}@{revision or 'new'}"
        return Source("", resolved, name, kind, self.path, None, "0" * 64, None)  # type: ignore[arg-type]


@pytest.fixture
def loader() -> Loader:
    return Loader()


def resolved(loader: Loader, source: SourceRef, pinned: PinnedSource | None = None, *, strict: bool = False) -> Source:
    components = SimpleNamespace(names=lambda kind: ["fake"], get=lambda kind, name: loader)
    loaded = SimpleNamespace(base_dir=Path(), components=components)
    earlier = {} if pinned is None else {"node": pinned}
    graph = Graph({"node": source}, ())
    return resolve_all(graph, loaded, earlier, offline=True, strict=strict, warn=pytest.fail)["node"]  # type: ignore[arg-type]


def test_every_kind_of_the_graph_is_listed() -> None:
    assert set(SOURCE_KINDS) == set(get_args(get_type_hints(SourceRef)["kind"]))


def test_a_continued_run_keeps_its_revision(loader: Loader) -> None:
    source = SourceRef("data", "mine", "fake:a")
    first = resolved(loader, source)
    assert (first.resolved, first.label) == ("fake:a@new", "mine")
    again = resolved(loader, source, PinnedSource("fake:a@old", "mine", False, ()))
    assert (again.spec, again.resolved, again.label) == ("fake:a", "fake:a@old", "mine")


@pytest.mark.parametrize("pins", [True, False])
def test_what_cannot_be_pinned_is_resolved_as_written(
    loader: Loader, monkeypatch: pytest.MonkeyPatch, pins: bool
) -> None:
    monkeypatch.setattr("layersig.engine.sources.SOURCE_KINDS", {"data": SourceKind(pins=pins)})
    resolved(loader, SourceRef("data", "mine", "fake:a"), PinnedSource("fake:a@old", "mine", False, ()))
    assert loader.asked == ["a@old" if pins else "a"]


def test_a_path_is_resolved_as_written(loader: Loader) -> None:
    resolved(loader, SourceRef("data", "mine", "fake:here"), PinnedSource("file:/elsewhere", "mine", False, ()))
    assert loader.asked == ["here"]


def test_a_continued_run_keeps_its_fallback(loader: Loader) -> None:
    source = SourceRef("data", "mine", "fake:a", "fake:b")
    pinned = PinnedSource("fake:b@old", "mine>b", True, ("why",))
    found = resolved(loader, source, pinned)
    assert (found.spec, found.label, found.fallback, found.notes) == ("fake:a", "mine>b", True, ("why",))
    assert loader.asked == ["b"]
    with pytest.raises(MachineError, match="started on its fallback fake:b, which --strict forbids"):
        resolved(loader, source, pinned, strict=True)


def test_strict_reaches_the_resolver(loader: Loader) -> None:
    source = SourceRef("data", "mine", "fake:down", "fake:b")
    assert resolved(loader, source).label == "mine>b"
    with pytest.raises(MachineError, match="--strict forbids its fallback"):
        resolved(loader, source, strict=True)


def test_questions_are_checked_before_anything_runs(loader: Loader, tmp_path: Path) -> None:
    loader.path = tmp_path / "questions.jsonl"
    source = SourceRef("questions", "mine", "fake:q")
    loader.path.write_text(json.dumps({"question_id": 1, "category": "a", "turns": ["one?"]}) + "\n")
    assert resolved(loader, source).path == loader.path
    loader.path.write_text(json.dumps({"question_id": 1}) + "\n")
    with pytest.raises(UserError, match=r"questions\.jsonl"):
        resolved(loader, source)
    assert resolved(loader, SourceRef("data", "mine", "fake:q")).path == loader.path


def test_each_kind_finds_its_resolver(tmp_path: Path) -> None:
    rankings = tmp_path / "scores.jsonl"
    rankings.write_text("{}\n")
    request = Request(tmp_path, tmp_path / "cache", offline=True)

    def found(kind: str, spec: str) -> Source:
        return SOURCE_KINDS[kind].resolve(NamedSource(kind, "mine", spec), request, strict=False, loaders={})

    assert (found("rankings", "file:scores.jsonl").path, found("rankings", "file:.").label) == (rankings, "mine")
    with pytest.raises(UserError, match="is not a task; write lm-eval's name"):
        found("task", "hub:a/b")
    with pytest.raises(UserError, match="names no update source"):
        found("update", "hub:a/b")


def test_a_run_is_complete_on_fallback_where_one_source_stood_in_for_another(loader: Loader) -> None:
    own = loader.load("data", "here", None)  # type: ignore[arg-type]
    stands_in = replace(own, fallback=True)
    assert final_status({"a": own}, complete=True) == "complete"
    assert final_status({"a": own, "b": stands_in}, complete=True) == "complete-on-fallback"
    assert final_status({"a": own, "b": stands_in}, complete=False) == "failed"
