"""Damaged checkpoints and adapters, read as a study reads them: resolved, compared with their headers, loaded."""

from __future__ import annotations

import json
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from layersig.layers import LayerMap
from layersig.models.layermap import layer_map
from layersig.models.load import load_model
from layersig.models.preflight import check_base, check_update
from layersig.models.update_folder import read_update
from layersig.sources.resolve import resolve
from layersig.sources.source import Request
from tests.models.helpers import adapter_folder
from tests.tiny import save_tiny, tiny_model, tiny_tokenizer
from tests.torture.harness import Trial

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_model.safetensors"
_KINDS = (torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.float8_e4m3fn, torch.bool, torch.int64)
_NAMES = ("with blanks", "ключ", "a'b\"c", "per%cent{0}", "new\nline", "-rf", "x" * 200, "..hidden", "emoji-🙂")
_EXTRA = (
    "model.layers.0.self_attn.q_proj.weight_scale_inv",
    "model.layers.0.mlp.up_proj.qweight",
    "lm_head.weight_packed",
    "model.layers.1.mlp.down_proj.weight.absmax",
    "model.layers.0.self_attn.o_proj.lora_A.weight",
    "v_head.weight",
    "model.layers.0.self_attn.rotary_emb.inv_freq",
    "transformer.h.0.attn.masked_bias",
    "model.layers.7.norm.weight",
)
_PREFIXES = ("module.", "_orig_mod.", "base_model.model.", "model.", "a.b.")


def trials(count: int, folder: Path) -> Iterator[Trial]:
    """So many trials, every family in turn; trial n of a family is drawn from the seed n."""
    good = folder / "good"
    for name, architecture in (("llama", "llama"), ("gpt2", "gpt2"), ("moe", "qwen3_moe")):
        save_tiny(good / name, architecture)
    tiny_model("llama").save_pretrained(good / "sharded", max_shard_size="50KB")
    tiny_tokenizer().save_pretrained(good / "sharded")
    model = tiny_model("llama")
    layers = layer_map(model)
    adapter_folder(model, layers, good / "adapter")
    for number in range(count):
        name, source, harm = _FAMILIES[number % len(_FAMILIES)]
        draw = random.Random(f"{name}-{number}")
        copy = folder / "trials" / f"{number}-{name}"
        if name == "names":
            copy = copy.parent / f"{number}-{draw.choice(_NAMES)}"
        shutil.copytree(good / (source or draw.choice(("llama", "gpt2", "moe"))), copy)
        harm(copy, draw)
        read = partial(_read_update, layers=layers) if source == "adapter" else _read_model
        yield Trial(f"{name}-{number}", partial(read, copy), str(copy))
        shutil.rmtree(copy)


def _read_model(folder: Path) -> None:
    path = resolve(f"path:{folder}", "model", _request(folder)).path
    check_base(path, head=True, dtype=torch.float32)
    load_model(path, dtype=torch.float32, device="cpu")


def _read_update(folder: Path, layers: LayerMap) -> None:
    path = resolve(f"path:{folder}", "update", _request(folder)).path
    check_update(path, layers, ["path:model"])
    read_update(path, layers)


def _request(folder: Path) -> Request:
    return Request(base_dir=folder.parent, cache=folder.parent.parent / "cache", offline=True)


def _value(draw: random.Random) -> Any:
    deep: Any = draw.choice((0, "x"))
    for _ in range(draw.choice((3, 70, 900))):
        deep = draw.choice(([deep], {"a": deep}))
    numbers = (0, -1, 1, 3, 7, 10**6, 10**12, 10**40, 0.5, float("nan"), float("inf"))
    others = (None, True, "", "wide", "32", [], {}, [1, 2], [[]], {"a": 1}, ["full_attention"], deep)
    return draw.choice((*numbers, *others))


def _bytes(folder: Path, draw: random.Random, *, file: str) -> None:
    path = folder / file
    raw = bytearray(path.read_bytes())
    length = draw.choice((len(raw), min(len(raw), 4000)))  # most of what matters lies in front
    way = draw.choice(("flip", "cut", "append", "empty", "drop"))
    if way == "flip":
        for _ in range(draw.choice((1, 5, 50))):
            raw[draw.randrange(length)] = draw.randrange(256)
    elif way == "cut":
        del raw[draw.randrange(length) :]
    elif way == "append":
        raw += draw.randbytes(draw.choice((1, 100)))
    elif way == "empty":
        raw.clear()
    else:
        place = draw.randrange(length)
        del raw[place : place + draw.choice((1, 8, 100))]
    path.write_bytes(raw)


def _header(folder: Path, draw: random.Random, *, file: str) -> None:
    raw = (folder / file).read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    name = draw.choice([each for each in header if each != "__metadata__"])
    key = draw.choice(("dtype", "shape", "data_offsets", "drop", "rename", "metadata", "whole"))
    if key == "drop":
        del header[name]
    elif key == "rename":
        header[draw.choice(("", "a", "lm_head.weight", f"module.{name}"))] = header.pop(name)
    elif key == "metadata":
        header["__metadata__"] = _value(draw)
    elif key == "whole":
        header[name] = _value(draw)
    else:
        kinds = ("F16", "BF16", "I32", "U8", "F8_E4M3", "F4", "X")
        header[name][key] = draw.choice(kinds) if key == "dtype" else draw.choice(([], [0, 4], [-1, 2], _value(draw)))
    text = json.dumps(header).encode()
    (folder / file).write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])


def _tensors(folder: Path, draw: random.Random, *, file: str) -> None:
    path = folder / file
    tensors = load_file(path)
    name = draw.choice(sorted(tensors))
    tensor = tensors[name]
    way = draw.choice(("type", "all types", "narrow", "turn", "flat", "nan", "inf", "prefix", "extra", "drop", "name"))
    if way == "type":
        tensors[name] = tensor.to(draw.choice(_KINDS))
    elif way == "all types":
        kind = draw.choice(_KINDS)
        tensors = {each: value.to(kind) for each, value in tensors.items()}
    elif way == "narrow":
        tensors[name] = tensor[: max(len(tensor) - draw.choice((1, 8)), 0)].clone()
    elif way == "turn":
        tensors[name] = tensor.mT.contiguous() if tensor.ndim > 1 else tensor[None]
    elif way == "flat":
        tensors[name] = tensor.flatten()
    elif way in ("nan", "inf"):
        tensor.view(-1)[draw.randrange(tensor.numel())] = float(way)
    elif way == "prefix":
        prefix = draw.choice(_PREFIXES)
        tensors = {f"{prefix}{each}": value for each, value in tensors.items()}
    elif way == "extra":
        tensors[draw.choice(_EXTRA)] = torch.full((draw.choice((1, 4)),), draw.choice((0.5, -1e4)))
    elif way == "drop":
        del tensors[name]
    else:
        tensors[name.replace(draw.choice(("0", "weight", "proj")), draw.choice(("1", "x", "")))] = tensors.pop(name)
    save_file(tensors, path, metadata={"format": "pt"})


def _object(folder: Path, draw: random.Random, *, file: str) -> None:
    path = folder / file
    value = json.loads(path.read_text())
    for _ in range(draw.choice((1, 1, 3))):
        key = draw.choice(sorted(value))
        if draw.random() < 0.2:
            value.pop(key)
            continue
        value[key] = _value(draw)
    path.write_text(json.dumps(value))


def _inside(folder: Path, draw: random.Random, *, file: str) -> None:
    """Replace something at any depth of a JSON file."""
    path = folder / file
    value = json.loads(path.read_text())
    place = value
    while True:
        keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw.choice(keys)
        if not isinstance(place[key], dict | list) or not place[key] or draw.random() < 0.2:
            break
        place = place[key]
    place[key] = _value(draw)
    path.write_text(json.dumps(value))


def _index(folder: Path, draw: random.Random) -> None:
    index = folder / INDEX
    value = json.loads(index.read_text())
    names = value["weight_map"]
    way = draw.choice(("shard", "file", "lost", "extra", "both", "object", "twice"))
    if way == "shard":
        (folder / draw.choice(sorted(set(names.values())))).unlink()
    elif way == "file":
        names[draw.choice(sorted(names))] = draw.choice(("", "..", "../x.safetensors", "no", 5, None, [], {}))
    elif way == "lost":
        names["model.layers.0.lost.weight"] = draw.choice(sorted(names.values()))
    elif way == "extra":
        del names[draw.choice(sorted(names))]
    elif way == "both":
        shutil.copyfile(folder / sorted(set(names.values()))[0], folder / WEIGHTS)
    elif way == "object":
        value["weight_map"] = _value(draw)
    else:
        first, second = sorted(set(names.values()))[:2]
        tensors = load_file(folder / first) | load_file(folder / second)
        save_file(tensors, folder / second, metadata={"format": "pt"})
    index.write_text(json.dumps(value))


def _files(folder: Path, draw: random.Random) -> None:
    """Something else where a file should be."""
    path = folder / draw.choice(sorted(each.name for each in folder.iterdir()))
    path.unlink()
    way = draw.choice(("gone", "folder", "link", "noise"))
    if way == "folder":
        path.mkdir()
    elif way == "link":
        path.symlink_to(folder / "nowhere")
    elif way == "noise":
        path.write_bytes(draw.randbytes(300))


def _nothing(folder: Path, draw: random.Random) -> None:
    """Its name is what is unusual."""


_FAMILIES: tuple[tuple[str, str | None, Callable[[Path, random.Random], None]], ...] = (
    ("weights-bytes", None, partial(_bytes, file=WEIGHTS)),
    ("weights-header", None, partial(_header, file=WEIGHTS)),
    ("weights-tensors", None, partial(_tensors, file=WEIGHTS)),
    ("config-keys", None, partial(_object, file="config.json")),
    ("config-inside", None, partial(_inside, file="config.json")),
    ("config-bytes", None, partial(_bytes, file="config.json")),
    ("tokenizer-inside", None, partial(_inside, file="tokenizer.json")),
    ("tokenizer-bytes", None, partial(_bytes, file="tokenizer.json")),
    ("tokenizer-config", None, partial(_object, file="tokenizer_config.json")),
    ("generation-config", None, partial(_object, file="generation_config.json")),
    ("index", "sharded", _index),
    ("files", None, _files),
    ("names", None, _nothing),
    ("adapter-config", "adapter", partial(_object, file="adapter_config.json")),
    ("adapter-header", "adapter", partial(_header, file=ADAPTER)),
    ("adapter-tensors", "adapter", partial(_tensors, file=ADAPTER)),
    ("adapter-files", "adapter", _files),
)
