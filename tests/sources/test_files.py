from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from layersig.errors import UserError
from layersig.sources.entries import hash_files
from layersig.sources.files import FileData, PathModel, check_model_folder, digest_model
from layersig.sources.rankings import resolve_rankings
from layersig.sources.source import NamedSource, Request
from layersig.store.hashing import digest_of
from tests.tiny import save_tiny, tiny_model, tiny_tokenizer


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def test_a_whole_model_is_found_relative_to_the_recipe(folder: Path, tmp_path: Path) -> None:
    source = PathModel().load("model", "./model", Request(tmp_path, tmp_path / "cache"))
    assert source.path == folder
    assert source.resolved == f"path:{folder}"
    assert source.digest == digest_model(folder, tmp_path / "cache")


def test_the_digest_is_of_what_the_model_is(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    before = digest_model(folder, cache)
    (folder / "README.md").write_text("hello")
    (folder / "training_args.bin").write_bytes(b"x")
    assert digest_model(folder, cache) == before
    raw = bytearray((folder / "model.safetensors").read_bytes())
    raw[-1] ^= 1
    (folder / "model.safetensors").write_bytes(raw)
    assert digest_model(folder, cache) != before


def test_what_prepares_inputs_is_part_of_a_model_that_has_it(folder: Path, tmp_path: Path) -> None:
    before = digest_model(folder, tmp_path / "cache")
    assert before == digest_of(hash_files(tmp_path / "cache", {file.name: file for file in folder.iterdir()}))
    for name in ("preprocessor_config.json", "processor_config.json", "tekken.json"):
        (folder / name).write_text("{}")
        assert digest_model(folder, tmp_path / "cache") != before
        (folder / name).unlink()


def test_what_is_read_where_it_lies_is_hashed_again_on_request(folder: Path, tmp_path: Path) -> None:
    cache, rows = tmp_path / "cache", tmp_path / "rows.jsonl"
    rows.write_text("{}\n")
    update = tmp_path / "update"
    update.mkdir()
    (update / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    save_file({"x": torch.zeros(1)}, update / "adapter_model.safetensors")
    request = Request(tmp_path, cache)
    changes = {
        "model": (PathModel().load("model", "model", request), folder / "config.json"),
        "update": (PathModel().load("update", "update", request), update / "adapter_config.json"),
        "data": (FileData().load("data", "rows.jsonl", request), rows),
        "rankings": (resolve_rankings(NamedSource("rankings", "x", "file:rows.jsonl"), request), rows),
    }
    found = {name: pickle.loads(pickle.dumps(source)) for name, (source, _) in changes.items()}
    assert {name: source.digest_now(cache) == source.digest for name, source in found.items()} == dict.fromkeys(
        found, True
    )
    for file in {file for _, file in changes.values()}:
        file.write_text(file.read_text() + " ")
    assert {name: source.digest_now(cache) == source.digest for name, source in found.items()} == dict.fromkeys(
        found, False
    )


def test_shards_are_all_checked(tmp_path: Path) -> None:
    folder = tmp_path / "sharded"
    tiny_model("llama").save_pretrained(folder, max_shard_size="40KB")
    tiny_tokenizer().save_pretrained(folder)
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    check_model_folder(folder)
    shards[1].unlink()
    with pytest.raises(UserError, match=f"shard {shards[1].name} is missing"):
        check_model_folder(folder)


def test_a_weight_file_that_is_cut_short_is_named_with_both_lengths(folder: Path) -> None:
    path = folder / "model.safetensors"
    raw = path.read_bytes()
    path.write_bytes(raw[:-100])
    with pytest.raises(UserError, match=rf"model\.safetensors: {len(raw) - 100:,} bytes long.* promises {len(raw):,}"):
        check_model_folder(folder)


@pytest.mark.parametrize(
    "raw", [b"", b"\x05", b"\xff" * 64, b"\x02" + b"\0" * 7 + b"[]", b"\x09" + b"\0" * 7 + b'{"a": {}}']
)
def test_a_damaged_header_is_said_to_be_damaged(folder: Path, raw: bytes) -> None:
    (folder / "model.safetensors").write_bytes(raw)
    with pytest.raises(UserError, match=r"model\.safetensors: damaged safetensors header"):
        check_model_folder(folder)


def test_what_is_missing_is_named(folder: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        check_model_folder(folder / "elsewhere")
    tokenizer = {name: (folder / name).read_bytes() for name in ("tokenizer.json", "tokenizer_config.json")}
    for name in tokenizer:
        (folder / name).unlink()
    with pytest.raises(UserError, match="has no tokenizer"):
        check_model_folder(folder)
    for name, content in tokenizer.items():
        (folder / name).write_bytes(content)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"neither model\.safetensors nor .*save_pretrained"):
        check_model_folder(folder)
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="an adapter, not a model"):
        check_model_folder(folder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(UserError, match=r"config\.json: is not a JSON object"):
        check_model_folder(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json: cannot be read"):
        check_model_folder(folder)
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"has no config\.json"):
        check_model_folder(folder)


def test_data_files_are_checked_when_they_are_resolved(tmp_path: Path) -> None:
    request = Request(tmp_path, tmp_path / "cache")
    (tmp_path / "chats.jsonl").write_text(json.dumps({"prompt": "a", "response": "b"}))
    source = FileData().load("data", "chats.jsonl", request)
    assert (source.path, source.label) == (tmp_path / "chats.jsonl", "chats")
    (tmp_path / "chats.jsonl").write_text(json.dumps({"prompt": "a", "response": "c"}))
    assert FileData().load("data", "chats.jsonl", request).digest != source.digest
    with pytest.raises(UserError, match=r"gone\.jsonl: there is no such file"):
        FileData().load("data", "gone.jsonl", request)
    (tmp_path / "empty.json").touch()
    with pytest.raises(UserError, match=r"empty\.json: the file is empty"):
        FileData().load("data", "empty.json", request)
    with pytest.raises(UserError, match=r"chats\.csv: a data file must end in \.parquet, \.jsonl, \.json"):
        FileData().load("data", "chats.csv", request)
