"""Packs a finished run for a reviewer: one file, the same bytes whenever it is packed."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from layersig.errors import UserError
from layersig.store.files import files_below, write_through
from layersig.store.runfolder import REPEAT, KeptForm, ManifestForm, RunFolder

_WHOLE = ("complete", "complete-on-fallback")
_NEEDED = ("recipe.toml", "resolved.toml", "manifest.json", "analysis.json", "report.html", f"{REPEAT}/recipe.toml")
_WEIGHT_FOLDERS = frozenset({"adapters", "models"})
_WEIGHT_FILES = frozenset({".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt"})
_RECORDS = frozenset({".yaml", ".yml", ".py", ".toml", ".txt"})
"""Endings of kept inputs that are no data: recipe, plugins, definitions of tasks."""


def archive(run: RunFolder, target: Path, *, data: bool = True) -> list[str]:
    """Write a `.tar.gz` with all that a reviewer needs: never weights, never what the cache holds.

    Args:
        run: The run.
        target: File to write; it must not exist.
        data: Whether local data that the recipe names are packed too.

    Returns:
        Names of the packed files, sorted.

    Raises:
        UserError: The run is not finished, lacks files or was changed; or the target cannot be written.
    """
    manifest = _finished(run)
    _writable(run, target)
    left_out = frozenset() if data else frozenset(_data(manifest))
    inputs = {each["file"] for each in manifest.get("inputs", ())}
    found = [path for path in files_below(run.path) if path.as_posix() in inputs or _packed(path)]
    names = [path.as_posix() for path in found if path.as_posix() not in left_out]
    root = f"{manifest['name']}-{manifest['id']}"
    readme = _readme(root, manifest, names, left_out).encode()

    def write(path: Path) -> None:
        with (
            path.open("wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for name in sorted([*names, "README.md"]):
                raw = readme if name == "README.md" else (run.path / name).read_bytes()
                about = tarfile.TarInfo(f"{root}/{name}")
                about.size, about.mode = len(raw), 0o644
                tar.addfile(about, io.BytesIO(raw))

    write_through(target, write)
    return sorted([*names, "README.md"])


def _finished(run: RunFolder) -> ManifestForm:
    manifest, status = run.manifest(), run.status()
    if status not in _WHOLE:
        raise UserError(
            f"{run.path} is {status}, and an archive is of a finished run; run its recipe again to finish it"
        )
    missing = [name for name in _NEEDED if not (run.path / name).is_file()]
    if missing:
        raise UserError(f"{run.path} lacks {', '.join(missing)}; run its recipe again to have them written")
    run.verify()
    return manifest


def _writable(run: RunFolder, target: Path) -> None:
    if target.exists():
        raise UserError(f"{target} exists; name a file that is not there yet")
    if not target.parent.is_dir():
        raise UserError(f"{target.parent} is no folder; make it, or name another file with -o")
    if target.resolve().is_relative_to(run.path.resolve()):
        raise UserError(f"{target} lies in the run folder; name a file outside of it with -o")


def _packed(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return not hidden and path.parts[0] not in _WEIGHT_FOLDERS and path.suffix not in _WEIGHT_FILES


def _data(manifest: ManifestForm) -> Iterator[str]:
    for kept in manifest.get("inputs", ()):
        if kept["file"] is not None and Path(kept["file"]).suffix not in _RECORDS:
            yield kept["file"]


def _readme(title: str, manifest: ManifestForm, names: list[str], left_out: frozenset[str]) -> str:
    versions = manifest["versions"]
    steps = [
        f"Install Python {versions['python']} and layersig {versions['layersig']}; `{REPEAT}/requirements.txt` has the "
        "version of every package that was installed.",
        *(_supply(each) for each in manifest.get("inputs", ()) if each["file"] is None or each["file"] in left_out),
        *_weights(manifest),
        f"`layersig run {REPEAT}/recipe.toml` repeats the run. `layersig validate {REPEAT}/recipe.toml` checks the "
        "recipe first.",
        "Compare `scores.jsonl`, `selections.jsonl` and `evaluations/` with those here. On the same kind of device, "
        "with the same versions, they are equal; elsewhere they differ by rounding.",
    ]
    numbered = "".join(f"{number}. {step}\n" for number, step in enumerate(steps, start=1))
    listed = "".join(f"- `{name}`\n" for name in sorted(names))
    return (
        f"# {title}\n\n"
        f"A run of layersig ({manifest['status']}). `report.html` says what was found; `manifest.json` with what, on "
        "what and when; `analysis.json` holds every comparison, `evaluations/` the outcome of every item, and "
        "`scores.jsonl` every ranking. Weights are not packed.\n\n"
        f"## Repeat it\n\n{numbered}\n## Files\n\n{listed}"
    )


def _supply(kept: KeptForm) -> str:
    place = f"as `{kept['file']}`" if kept["file"] is not None else f"and name it as `{kept['key']}` in the recipe"
    return f"Supply `{kept['name']}` (sha256 `{kept['sha256']}`), which is not packed, {place}."


def _weights(manifest: ManifestForm) -> Iterator[str]:
    for source in manifest["sources"]:
        if source["resolved"].removeprefix("untrained:").startswith("path:"):
            missing = f"Supply the folder of the {source['role']} `{source['label']}` (digest `{source['digest']}`)"
            if source["node"] in ("source/model", "source/update"):
                scheme = source["resolved"].partition("path:")[0] + "path"
                how = f": `layersig run {REPEAT}/recipe.toml {source['role']}.source={scheme}:FOLDER`"
            else:
                how = f", and name it as `checkpoint` of the arm in `{REPEAT}/recipe.toml`"
            yield f"{missing}, which is not packed{how}."
