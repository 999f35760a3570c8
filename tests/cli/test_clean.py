"""What `layersig clean` says of an empty cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.study import call


def test_an_empty_cache_is_counted_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAYERSIG_CACHE", str(tmp_path / "cache"))
    code, out, err = call(capsys, "clean")
    assert (code, "0 stored results, 0 B can be freed" in out) == (0, True), out + err
