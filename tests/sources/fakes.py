"""Tiny wheels and source distributions, and a package index made of a folder."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.ipc
import pytest

_BACKEND = b"""
def prepare_metadata_for_build_wheel(folder, settings=None):
    import pathlib
    info = pathlib.Path(folder) / "tinysdist-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: tinysdist\\nVersion: 1.0\\n")
    return info.name
def build_wheel(folder, settings=None, metadata=None):
    raise RuntimeError("only the metadata is needed")
"""


def arrow(rows: list[dict[str, Any]]) -> bytes:
    """A stream of Arrow, as wheels keep data sets."""
    table = pyarrow.Table.from_pylist(rows)
    sink = io.BytesIO()
    with pyarrow.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


def wheel(folder: Path, name: str, members: Mapping[str, bytes]) -> Path:
    """`name-1.0-py3-none-any.whl` with the given members."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for member, content in members.items():
            file.writestr(member, content)
        file.writestr(f"{name}-1.0.dist-info/METADATA", metadata)
        file.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return path


def sdist(folder: Path, members: Mapping[str, bytes]) -> Path:
    """`tinysdist-1.0.tar.gz`, whose build backend lies inside, so that preparing its metadata needs no network."""
    project = b'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    path = folder / "tinysdist-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        for member, content in {"pyproject.toml": project, "backend.py": _BACKEND, **members}.items():
            info = tarfile.TarInfo(f"tinysdist-1.0/{member}")
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def use_index(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make pip take `folder` for the only place where packages are."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
