"""The run folder: everything that a run publishes, as links or copies, so that cleaning the cache never harms it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from textwrap import indent
from typing import Any, NotRequired

from filelock import FileLock, Timeout

from layersig.errors import UserError
from layersig.jsonform import Damaged, Digest, Number, Open, dumps, read_json
from layersig.records import CellForm
from layersig.store.files import discard, files_below, link_or_copy, make_readable, parts_below, write_atomic
from layersig.store.hashing import sha256_bytes
from layersig.store.planned_costs import PlannedCostsForm
from layersig.store.plans import PlannedForm

SCHEMA = 1
REPEAT = "repeat"
"""Folder of what repeats a run: recipe, local inputs, versions of packages."""


class VersionForm(Open):
    """The part of a manifest that every version writes."""

    schema: int


class SourceForm(Open):
    """A source of a run."""

    node: str
    role: str
    name: str
    spec: str
    resolved: str
    label: str
    fallback: bool
    revision: str | None
    digest: str | None
    licence: str | None
    notes: list[str]


class StageForm(Open):
    """A stage of a run, with what it cost once it is done."""

    id: str
    kind: str
    cell: CellForm
    status: str
    inputs: NotRequired[dict[str, str]]
    fingerprint: NotRequired[str | None]
    cached: NotRequired[bool]
    computes: NotRequired[bool]
    declared: NotRequired[bool]
    other_declarations: NotRequired[int]
    error: NotRequired[str]
    warnings: NotRequired[list[str]]
    seconds: NotRequired[Number]
    disk: NotRequired[Number]
    calls: NotRequired[Number]
    tokens: NotRequired[Number]
    cpu_energy: NotRequired[Number]
    gpu_energy: NotRequired[Number]
    evaluate_seconds: NotRequired[Number]
    seconds_per_token: NotRequired[Number]
    operations: NotRequired[Number]
    peak_memory: NotRequired[Number]
    halved_to: NotRequired[Number]
    weights_memory: NotRequired[Number]
    trained_memory: NotRequired[Number]
    gradient_memory: NotRequired[Number]
    optimizer_memory: NotRequired[Number]
    steps: NotRequired[Number]
    planned_steps: NotRequired[Number]
    continued_from: NotRequired[Number]


class KeptForm(Open):
    """A local file that the recipe names, by the key that does; `file` is its copy in the run folder."""

    key: str
    file: str | None
    name: str
    sha256: Digest


class ManifestForm(VersionForm):
    """`manifest.json`."""

    name: str
    id: str
    status: str
    started: str
    finished: NotRequired[str]
    argv: list[str]
    smoke: bool
    versions: dict[str, str]
    packages: NotRequired[dict[str, str]]
    machine: dict[str, Any]
    root_seed: int
    seeds: list[int]
    sources: list[SourceForm]
    scorers: NotRequired[dict[str, str]]
    inputs: NotRequired[list[KeptForm]]
    warnings: list[str]
    skipped: NotRequired[list[str]]
    stages: list[StageForm]
    files: NotRequired[dict[str, Digest]]
    study: NotRequired[Digest]
    looks: NotRequired[list[list[int]]]
    plan: NotRequired[list[PlannedForm]]
    planned_costs: NotRequired[PlannedCostsForm]


class RunFolder:
    """One run on disk.

    Args:
        path: `RUNS/<name>/<id>`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """`<name>/<id>`: how `status`, `report` and `compare` call it."""
        return f"{self.path.parent.name}/{self.path.name}"

    def manifest(self) -> ManifestForm:
        """The manifest.

        Raises:
            UserError: There is none, it is damaged, or another version of layersig wrote a form unknown here.
        """
        path = self.path / "manifest.json"
        try:
            schema = read_json(path, VersionForm)["schema"]
            if schema != SCHEMA:
                raise UserError(f"{path} has schema {schema}; this version of layersig reads {SCHEMA}")
            return read_json(path, ManifestForm)
        except FileNotFoundError:
            raise UserError(f"{self.path} is not a run: it has no manifest.json") from None

    def state(self) -> ManifestForm:
        """The manifest, corrected for killed runs: without a process at work, neither run nor stage is `running`.

        The run is `stopped`, and a stage that it broke off in `interrupted`.

        Raises:
            UserError: As `manifest` has it.
        """
        manifest = self.manifest()
        if manifest["status"] == "running":
            if self._at_work():
                return manifest
            manifest["status"] = "stopped"
        for stage in manifest["stages"]:
            if stage["status"] == "running":
                stage["status"] = "interrupted"
        return manifest

    def status(self) -> str:
        """The status of `state`."""
        return self.state()["status"]

    def _at_work(self) -> bool:
        """Whether a process holds the lock of the run, as far as can be told."""
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            with lock:
                return False
        except (Timeout, OSError):
            return True

    def model(self) -> SourceForm:
        """The record of the model that the run is about.

        Raises:
            UserError: As `manifest` has it; or it names none.
        """
        for source in self.manifest()["sources"]:
            if source["role"] == "model":
                return source
        raise Damaged(str(self.path / "manifest.json"), "sources: no model")

    def earlier(self, warn: Callable[[str], None]) -> ManifestForm | None:
        """The manifest of the last start; None when there was none, or when it was damaged and is now set aside.

        Raises:
            UserError: Another version of layersig wrote it.
        """
        path = self.path / "manifest.json"
        if not path.exists():
            return None
        try:
            return self.manifest()
        except Damaged as error:
            aside = path.with_name(f"{path.name}.damaged")
            path.replace(aside)
            warn(f"{path} is damaged ({error.why}); set aside as {aside.name} and built again")
            return None

    def save_manifest(self, manifest: Mapping[str, Any], stages: Iterable[str] | None = None) -> None:
        """Replace the manifest.

        Args:
            manifest: The manifest, without its stages where they are given.
            stages: The record of every stage as `stage_text` writes it: of thousands, few change at a time.
        """
        text = dumps({"schema": SCHEMA, **manifest}, indent=1)
        if stages is not None:
            records = ",\n".join(stages)
            text = text.removesuffix("\n}") + f',\n "stages": [\n{records}\n ]\n}}'
        write_atomic(self.path / "manifest.json", text + "\n")

    def lock(self) -> FileLock:
        """A lock on the run, taken without waiting; what a killed process was writing here is removed.

        Raises:
            UserError: Another process is at work on it.
            OSError: The folder cannot be made.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise UserError(f"{self.path} is being written by another process; wait for it, or stop it") from None
        for part in parts_below(self.path):
            discard(part)
        return lock

    def place(self, source: Path, target: str) -> None:
        """Make `target` a faithful copy of a file or folder of the cache; what stood there before goes."""
        destination = self.path / target
        if source.is_file():
            link_or_copy(source, destination)
            make_readable(destination)
            return
        wanted = files_below(source)
        if destination.exists():
            for extra in set(files_below(destination)) - set(wanted):
                (destination / extra).unlink()
        for name in wanted:
            link_or_copy(source / name, destination / name)
            make_readable(destination / name)

    def remove(self, target: str) -> None:
        """Remove a file or folder that no longer belongs to the run."""
        path = self.path / target
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def write(self, target: str, text: str) -> None:
        """Replace a text file."""
        write_atomic(self.path / target, text)

    def verify(self) -> None:
        """Check that the records of the run are what the run wrote.

        Raises:
            Damaged: One is missing or was changed.
            UserError: As `manifest` has it.
        """
        manifest = self.manifest()
        kept = {each["file"]: each["sha256"] for each in manifest.get("inputs", ()) if each["file"] is not None}
        for name, digest in {**kept, **manifest.get("files", {})}.items():
            path = self.path / name
            if not path.is_file():
                raise Damaged(str(path), "it is missing")
            if sha256_bytes(path.read_bytes()) != digest:
                raise Damaged(str(path), "it is not what the run wrote")


def stage_text(record: Mapping[str, Any]) -> str:
    """The record of a stage as text of the manifest."""
    return indent(dumps(record, indent=1), "  ")


def find_run(runs: Path, wanted: str) -> RunFolder:
    """The run that a user means: a path, `NAME/ID`, a NAME (its newest run), or the start of an ID.

    Raises:
        UserError: None or several fit, or nothing was named.
    """
    if not wanted.strip():
        raise UserError("name a run: a path, NAME/ID, a NAME, or the start of an ID; `layersig runs` lists them")
    if is_run(path := Path(wanted).resolve()):
        return RunFolder(path)
    every = all_runs(runs)
    fitting = [run for run in every if run.name == wanted]
    if not fitting:
        named = [run for run in every if run.path.parent.name == wanted]
        newest = sorted(named, key=lambda run: (run.path / "manifest.json").stat().st_mtime)[-1:]
        fitting = newest + [run for run in every if run.path.name.startswith(wanted) and run not in named]
    if len(fitting) > 1:
        names = ", ".join(run.name for run in fitting)
        raise UserError(f"{wanted!r} fits several runs: {names}; give more of the id, or NAME/ID")
    if not fitting:
        known = ", ".join(run.name for run in every[-5:]) or "none yet"
        raise UserError(f"no run {wanted!r} in {runs}; there are: {known}")
    return fitting[0]


def is_run(path: Path) -> bool:
    """Whether a folder is that of a run, also of one that was damaged: others hold a `manifest.json` too."""
    manifest = path / "manifest.json"
    if not manifest.is_file():
        return False
    if (path / ".lock").exists() or (path / "resolved.toml").exists():
        return True
    try:
        read_json(manifest, VersionForm)
    except Damaged:
        return False
    return True


def all_runs(runs: Path) -> list[RunFolder]:
    """Every run below a folder, by name."""
    return [RunFolder(path.parent) for path in sorted(runs.glob("*/*/manifest.json"))]
