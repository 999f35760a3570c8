"""Checkpoints that are missing, damaged, of another kind, or full of NaN."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoTokenizer

from tests.broken.bench import Bench, Case, Told, cut, each, nothing, remove, write

WEIGHTS = "model/model.safetensors"
UP = "model.layers.1.mlp.up_proj.weight"


def config(**changes: Any) -> Callable[[Bench], None]:
    def harm(bench: Bench) -> None:
        path = bench.folder / "model" / "config.json"
        values = {**json.loads(path.read_text()), **changes}
        path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))

    return harm


def weights(change: Callable[[dict[str, Tensor]], object], folder: str = "model") -> Callable[[Bench], None]:
    def harm(bench: Bench) -> None:
        path = bench.folder / folder / "model.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, metadata={"format": "pt"})

    return harm


def narrow(tensors: dict[str, Tensor]) -> None:
    tensors[UP] = tensors[UP][:, :-1].contiguous()


def spoil(tensors: dict[str, Tensor]) -> None:
    tensors[UP][0, 0] = float("nan")


def more_tokens(*, special: bool) -> Callable[[Bench], None]:
    """One token more than the embedding has rows: a word of the vocabulary, or the token that ends a text."""

    def harm(bench: Bench) -> None:
        folder = bench.folder / "model"
        if special:
            tokenizer = AutoTokenizer.from_pretrained(folder)
            tokenizer.add_special_tokens({"eos_token": "<x>"})
            tokenizer.save_pretrained(folder)
        else:
            value = json.loads((folder / "tokenizer.json").read_text())
            value["model"]["vocab"]["<x>"] = 260
            (folder / "tokenizer.json").write_text(json.dumps(value))

    return harm


def another_model(bench: Bench) -> None:
    shutil.copytree(bench.folder / "model", bench.folder / "spoilt")
    weights(spoil, "spoilt")(bench)


def lost_shard(bench: Bench) -> None:
    folder = bench.folder / "model"
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_file({UP: tensors.pop(UP)}, folder / "model-00001-of-00002.safetensors", metadata={"format": "pt"})
    places = dict.fromkeys(tensors, "model-00002-of-00002.safetensors")
    index = {"weight_map": {UP: "model-00001-of-00002.safetensors", **places}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def adapter(bench: Bench) -> None:
    remove(WEIGHTS)(bench)
    write("model/adapter_config.json", "{}")(bench)


CASES = [
    Case("no folder", lambda bench: (bench.folder / "model").rename("mdoel"), 2, ("model.source: there is no folder",)),
    Case("no config", remove("model/config.json"), 2, ("model: has no config.json; name the folder",)),
    Case(
        "a config cut short", cut("model/config.json", 40), 2, ("config.json: cannot be read", "fetch or save it again")
    ),
    Case("a config without a type", config(model_type=None), 2, ("config.json: has no `model_type`",)),
    Case("an unknown type", config(model_type="llamma"), 2, ("config.json: not a configuration", "`llamma`")),
    Case(
        "code of its own", config(model_type="mine", auto_map={"AutoConfig": "a.B"}), 2, ("config.json: ", "never run")
    ),
    Case("an encoder-decoder", config(model_type="t5"), 2, ("config.json: t5 is an encoder-decoder; only causal",)),
    Case(
        "a classifier",
        config(architectures=["LlamaForSequenceClassification"]),
        2,
        ("config.json: the checkpoint is a LlamaForSequenceClassification, not a causal language model",),
    ),
    Case("a size that is a word", config(hidden_size="wide"), 2, ("config.json: not a configuration", "'hidden_size'")),
    Case(
        "heads that do not fit",
        config(num_attention_heads=5),
        2,
        ("config.json: ", "not a multiple", "heads (5)"),
    ),
    Case(
        "a config too deep", config(num_hidden_layers=5), 2, ("model: the weights do not fit config.json", "is missing")
    ),
    Case("a config too shallow", config(num_hidden_layers=2), 2, ("config.json leaves out weights", "model.layers.2.")),
    Case(
        "a broken header", write(WEIGHTS, struct.pack("<Q", 50) + b"#" * 90), 2, ("model.safetensors: damaged", "again")
    ),
    Case("an endless header", write(WEIGHTS, struct.pack("<Q", 1 << 60)), 2, ("model.safetensors: damaged", "again")),
    Case(
        "weights cut short", cut(WEIGHTS, -1000), 2, ("model.safetensors: 161,664 bytes", "promises 162,664", "again")
    ),
    Case("no weights", remove(WEIGHTS), 2, ("model: has neither model.safetensors nor", "convert with transformers")),
    Case(
        "a lost shard", lost_shard, 2, ("model: the shard model-00002-of-00002.safetensors is missing; fetch or copy",)
    ),
    Case("a broken index", write(f"{WEIGHTS}.index.json", "{"), 2, ("index.json: cannot be read", "again")),
    Case("a wrong shape", weights(narrow), 2, ("model: the weights do not fit", f"{UP} is (48, 31), not (48, 32)")),
    Case(
        "a lost tensor", weights(lambda tensors: tensors.pop(UP)), 2, ("model: the weights do not", f"{UP} is missing")
    ),
    Case(
        "a very deep config",
        write("model/config.json", '{"model_type": "llama", "a": ' + "[" * 100_000 + "]" * 100_000 + "}"),
        2,
        ("config.json: is nested more than 64 levels deep",),
    ),
    Case(
        "a quantised checkpoint",
        config(quantization_config={"quant_method": "gptq", "bits": 4}),
        2,
        ("config.json: the weights are stored quantised (gptq)", "full precision"),
    ),
    Case(
        "scales beside weights",
        weights(lambda tensors: tensors.update({f"{UP}_scale_inv": tensors[UP][:1].clone()})),
        2,
        (f"holds scales of quantised weights ({UP}_scale_inv)", "a plain load would ignore"),
    ),
    Case(
        "a tie that the file contradicts",
        config(tie_word_embeddings=True),
        2,
        ("lm_head.weight and model.embed_tokens.weight are one weight", "set tie_word_embeddings = false"),
    ),
    Case(
        "an adapter beside weights",
        write("model/adapter_config.json", "{}"),
        2,
        ("model: holds the weights of a model and an adapter", "remove the adapter's files if it is"),
    ),
    Case("a token too many", more_tokens(special=False), 2, ("model: the tokenizer has 1 token beyond", "'<x>' (260)")),
    Case(
        "an end that has no embedding",
        more_tokens(special=True),
        2,
        ("1 token beyond the 260 rows of the embedding", "'<x>' (260)"),
    ),
    Case(
        "no tokenizer",
        remove("model/tokenizer.json", "model/tokenizer_config.json"),
        2,
        ("model: has no tokenizer", "save"),
    ),
    Case(
        "a tokenizer cut short",
        cut("model/tokenizer.json", 100),
        2,
        ("model: holds no tokenizer that transformers can read",),
    ),
    Case("an adapter", adapter, 2, ("model: holds an adapter, not a model; name the folder of its base model",)),
    Case(
        "weights with a NaN",
        another_model,
        2,
        ("reference/chats/seed-0: ", f"spoilt: holds values that are not finite (NaN or infinite) in {UP}"),
        ("run", "recipe.toml", "model.source=path:spoilt"),
    ),
]


@each(CASES)
def test_a_broken_checkpoint(bench: Bench, case: Case) -> None:
    case.check(bench)


@pytest.mark.slow
def test_a_process_of_its_own_says_no_more(bench: Bench) -> None:
    weights(narrow)(bench)
    command = [sys.executable, "-c", "from layersig.cli.main import main; main()", "run", "recipe.toml"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    told = Told(ended.returncode, ended.stdout, ended.stderr)
    assert told.code == 2
    assert f"{UP} is (48, 31), not (48, 32)" in told.message


def test_a_loss_that_turns_nan_stops_its_stage_and_what_was_whole_is_kept_and_reported(bench: Bench) -> None:
    words = ("error: reference/chats/seed-0: training, step 3: the loss is nan at learning rate", "train.learning_rate")
    arguments = ("run", "recipe.toml", "train.learning_rate=1e30", "--json")
    told = Case("a huge learning rate", nothing, 1, words, arguments).check(bench)
    ended = json.loads(told.out.splitlines()[-1])
    assert ended["status"] == "failed"
    folder = bench.folder / ended["run"]
    stages = {stage["id"]: stage["status"] for stage in json.loads((folder / "manifest.json").read_text())["stages"]}
    assert stages["reference/chats/seed-0"] == "failed"
    assert stages["score/ila/chats/seed-0/at-1"] == stages["tune/ila-30/chats/seed-0"] == "missing"
    assert stages["layers"] == stages["data/chats"] == stages["evaluate/base"] == "done"
    assert (folder / "evaluations" / "base" / "items.jsonl").is_file()
    assert not (folder / "adapters").exists()
    assert "the loss is nan" in (folder / "report.md").read_text()
    status = bench.call("status", folder)
    assert "training, step 3: the loss is nan" in status.out
