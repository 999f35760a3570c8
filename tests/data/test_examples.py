from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from layersig.data.examples import Example, read_examples, write_examples


def made(count: int, seed: int = 0) -> list[Example]:
    rng = np.random.default_rng(seed)
    return [
        Example(
            f"id-{place}", f"group-{place % 3}", rng.integers(0, 50_000, length, np.int32), rng.random(length) < 0.5
        )
        for place, length in enumerate(rng.integers(1, 40, count))
    ]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    examples = made(17)
    write_examples(tmp_path, "train", examples)
    read = read_examples(tmp_path, "train")
    assert len(read) == 17
    for one, other in zip(examples, read, strict=True):
        assert (one.id, one.group, len(one)) == (other.id, other.group, len(other))
        np.testing.assert_array_equal(one.tokens, other.tokens)
        np.testing.assert_array_equal(one.targets, other.targets)
    assert (read[-1].id, len(read[-1])) == ("id-16", len(examples[16]))
    np.testing.assert_array_equal(read.lengths, [len(example) for example in examples])
    np.testing.assert_array_equal(read.target_counts, [example.targets.sum() for example in examples])
    with pytest.raises(IndexError):
        read[17]


def test_format_is_readable_without_this_package(tmp_path: Path) -> None:
    examples = made(5)
    write_examples(tmp_path, "train", examples)
    arrays = load_file(tmp_path / "train.safetensors")
    assert {name: array.dtype for name, array in arrays.items()} == {
        "tokens": np.int32,
        "targets": np.bool_,
        "offsets": np.int64,
    }
    np.testing.assert_array_equal(arrays["tokens"], np.concatenate([example.tokens for example in examples]))
    names = json.loads((tmp_path / "train.json").read_text())
    assert names["ids"][3] == "id-3"
    assert names["groups"][3] == "group-0"


def test_equal_examples_are_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_examples(tmp_path, name, made(9))
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_empty_split(tmp_path: Path) -> None:
    write_examples(tmp_path, "heldout", [])
    read = read_examples(tmp_path, "heldout")
    assert len(read) == 0
    assert list(read) == []
    assert read.lengths.shape == read.target_counts.shape == (0,)


def test_arrays_stay_on_disk(tmp_path: Path) -> None:
    write_examples(tmp_path, "train", made(3))
    read = read_examples(tmp_path, "train")
    assert not read.tokens.flags.owndata
    assert not read.tokens.flags.writeable
