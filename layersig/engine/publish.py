"""Keeps the run folder in step with the stages that ended: files, lines, metrics, manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layersig.engine.execute import Ended
from layersig.jsonform import dumps, read_json, read_jsonl
from layersig.pipeline import Graph, Stage
from layersig.plugin.tracking import Tracking
from layersig.store.cache import StageEntry
from layersig.store.hashing import sha256_bytes
from layersig.store.runfolder import ManifestForm, RunFolder, stage_text


class Publisher:
    """Writes what stages give into one run folder.

    Lines of `scores.jsonl`, `selections.jsonl` and `metrics.jsonl` stand in the order of the graph, cached or not.

    Args:
        folder: The run.
        graph: Its graph.
        manifest: What the manifest holds besides stages; rewritten after every stage.
        model: Resolved name of the model, for the lines that carry it.
        declaration: Hash of what the recipe declares; a stage that was computed under another one is marked so.
        tracking: Who else is informed of trainings.
        finished: An earlier run came to its end here: its files stay untouched until this one has come to its own.
        earlier: The manifest of the last start: what it refers to stays in the cache until this start says otherwise.

    Attributes:
        saved: The status of the manifest that this start wrote last; None before it wrote any.
    """

    def __init__(
        self,
        folder: RunFolder,
        graph: Graph,
        manifest: dict[str, Any],
        model: str,
        declaration: str,
        tracking: Tracking,
        *,
        finished: bool = False,
        earlier: ManifestForm | None = None,
    ) -> None:
        self.saved: str | None = None
        self._folder = folder
        self._graph = graph
        self._manifest = manifest
        self._model = model
        self._declaration = declaration
        self._lines: dict[str, dict[str, str]] = {}
        self._metrics: dict[str, str] = {}
        self._digests: dict[str, str] = {}
        self._tracking = tracking
        self._finished = finished
        self._held: list[tuple[Path, str]] = []
        known = {each["id"]: each.get("fingerprint") for each in (earlier["stages"] if earlier else ())}
        self._stages: dict[str, dict[str, Any]] = {
            stage.id: {**_record(stage, "waiting"), **({"fingerprint": known[stage.id]} if known.get(stage.id) else {})}
            for stage in graph.stages
        }
        self._texts = {name: stage_text(record) for name, record in self._stages.items()}

    def started(self, stage: Stage, fingerprint: str) -> None:
        """A stage is about to run."""
        self._put(stage, {**_record(stage, "running"), "fingerprint": fingerprint})
        self.save()

    def ended(self, stage: Stage, how: Ended) -> None:
        """A stage is done, failed, or cannot run because something it reads failed.

        The manifest on disk learns of a cached one with the next that is not, or at the end.
        """
        record = {**_record(stage, how.status), "fingerprint": how.fingerprint, "cached": how.cached}
        if how.error is not None:
            record["error"] = how.error
        if how.entry is not None and how.fingerprint is not None:
            about = how.entry.about
            record |= {
                "seconds": about["seconds"],
                "disk": how.entry.size,
                **about["cost"],
                "warnings": about["warnings"],
            }
            record["declared"] = about["declarations"][:1] == [self._declaration]
            record["other_declarations"] = len({*about["declarations"]} - {self._declaration})
            self._place(stage, how.fingerprint, how.entry)
        self._put(stage, record)
        if not how.cached:
            self.save()

    @property
    def manifest(self) -> dict[str, Any]:
        """What the manifest says by now."""
        return {**self._manifest, "stages": list(self._stages.values())}

    def save(self) -> None:
        """Write the manifest."""
        self._folder.save_manifest(self._manifest, self._texts.values())
        self.saved = self._manifest["status"]

    def _put(self, stage: Stage, record: dict[str, Any]) -> None:
        self._stages[stage.id] = record
        self._texts[stage.id] = stage_text(record)

    def finish(self) -> None:
        """The run got to its end: write the files of lines, and let nothing of an older state of the run remain.

        A run that breaks off before leaves what an earlier one had.
        """
        for stage in self._graph.stages:
            if self._stages[stage.id]["status"] != "done":
                for target in stage.files.values():
                    self._folder.remove(target)
        for source, target in self._held:
            self._folder.place(source, target)
        every = {target: self._lines.get(target, {}) for target in sorted(self._targets())} | {
            "metrics.jsonl": self._metrics
        }
        for target, lines in every.items():
            text = "".join(lines[stage.id] for stage in self._graph.stages if stage.id in lines)
            self._folder.write(target, text)
            self._digests[target] = sha256_bytes(text.encode())
        self._manifest["files"] = dict(sorted(self._digests.items()))
        self.save()

    def _targets(self) -> set[str]:
        return {stage.line.target for stage in self._graph.stages if stage.line}

    def _place(self, stage: Stage, fingerprint: str, entry: StageEntry) -> None:
        for part, target in stage.files.items():
            source = entry.out / part if part else entry.out
            self._digests |= _digests(entry.about["files"], part, target)
            if source.exists() and self._finished:
                self._held.append((source, target))
            elif source.exists():
                self._folder.place(source, target)
        if stage.line is not None:
            value = read_json(entry.out / stage.line.file, dict[str, Any])
            labels = {"cell": stage.cell.key, "fingerprint": fingerprint, "model": self._model, **stage.line.labels}
            self._lines.setdefault(stage.line.target, {})[stage.id] = dumps({**labels, **value}) + "\n"
        if entry.metrics.exists():
            rows = list(read_jsonl(entry.metrics, dict[str, Any]))
            self._metrics[stage.id] = "".join(dumps({"cell": stage.cell.key, **row}) + "\n" for row in rows)
            self._tracking.training(stage.cell.key, rows)


def _digests(files: Mapping[str, str], part: str, target: str) -> dict[str, str]:
    """Sha256 of the records in a part of a stage's output, by their names in the run folder."""
    below = f"{part}/" if part else ""
    found = {name: digest for name, digest in files.items() if name.endswith((".json", ".jsonl"))}
    return {
        target if name == part else f"{target}/{name.removeprefix(below)}": digest
        for name, digest in found.items()
        if name == part or name.startswith(below)
    }


def _record(stage: Stage, status: str) -> dict[str, Any]:
    cell = {name: getattr(stage.cell, name) for name in stage.cell.__slots__}
    return {
        "id": stage.id,
        "kind": stage.kind,
        "cell": {name: value for name, value in cell.items() if value is not None},
        "status": status,
        "computes": stage.computes,
        "inputs": {role: f"{each.node}/{each.path}".rstrip("/") for role, each in stage.inputs.items()},
    }
