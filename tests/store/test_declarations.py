from __future__ import annotations

from pathlib import Path

import pytest

from layersig.store.declarations import Declarations


def declared(arm: str, model: str = "hub:a/b") -> dict[str, object]:
    return {"analyze": {"primary": [arm]}, "model": model}


def test_its_own_comes_first_and_others_of_the_model_behind(tmp_path: Path) -> None:
    record = Declarations(tmp_path)
    (first,) = record.put(declared("one"))
    assert record.put(declared("one")) == (first,)
    second, *others = record.put(declared("two"))
    assert others == [first]
    assert record.put(declared("one")) == (first, second)
    assert len(record.put(declared("one", "hub:a/c"))) == 1


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "3", "\xff"])
def test_a_damaged_record_counts_as_another(tmp_path: Path, text: str) -> None:
    record = Declarations(tmp_path)
    (first,) = record.put(declared("one"))
    (tmp_path / "declarations" / f"{first}.json").write_text(text, encoding="latin-1")
    assert record.put(declared("two"))[1:] == (first,)
