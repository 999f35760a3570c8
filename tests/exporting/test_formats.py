"""Configurations of training tools: what they say, what they cannot, and what the tools' own schemas make of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import yaml

from layersig.errors import UserError
from layersig.exporting import TOOLS
from layersig.exporting.base import Base
from layersig.exporting.chosen import Chosen, _with_ranks
from layersig.exporting.formats import WRITERS
from layersig.layers import Layer, Part

KINDS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.up_proj")


def every(blocks=12):
    return tuple(
        Layer(f"model.layers.{block}.{kind}", block, kind, Part.ATTENTION, 64, (8, 8))
        for block in range(blocks)
        for kind in KINDS
    )


def chosen(names, *, ranks=None, **more):
    layers = tuple(layer for layer in every() if layer.name in names)
    ranks = ranks or {layer.name: 4 for layer in layers}
    alphas = {name: 2.0 * rank for name, rank in ranks.items()}
    values = {"dropout": 0.1, "base": Base("org/model", "abc", False), **more}
    return Chosen(title="run arm", layers=layers, of=every(), ranks=ranks, alphas=alphas, **values)


SOME = ("model.layers.1.self_attn.q_proj", "model.layers.10.self_attn.v_proj")
RANKED = {SOME[0]: 2, SOME[1]: 6}


def test_every_tool_has_a_writer():
    assert tuple(WRITERS) == TOOLS


@pytest.mark.parametrize("tool", ["trl", "axolotl", "llamafactory"])
def test_yaml_names_the_layers_rank_and_model(tool):
    found = yaml.safe_load(WRITERS[tool](chosen(SOME)).text)
    assert "abc" in found.values()
    assert "org/model" in found.values()
    targets = found.get("lora_target") or found["lora_target_modules"]
    assert (targets.split(",") if isinstance(targets, str) else targets) == list(SOME)
    assert (found.get("lora_r", found.get("lora_rank")), found["lora_alpha"], found["lora_dropout"]) == (4, 8, 0.1)


def test_names_are_one_a_line():
    assert WRITERS["names"](chosen(SOME)).text.splitlines() == list(SOME)


def test_peft_has_every_rank():
    peft = pytest.importorskip("peft")
    config = json.loads(WRITERS["peft"](chosen(SOME, ranks=RANKED)).text)
    from peft.utils.other import get_pattern_key

    read = peft.LoraConfig.from_peft_type(**config)
    for name, rank in RANKED.items():
        assert read.rank_pattern.get(get_pattern_key(read.rank_pattern, name), read.r) == rank
        assert read.alpha_pattern.get(get_pattern_key(read.alpha_pattern, name), read.lora_alpha) == 2 * rank


@pytest.mark.parametrize("tool", ["trl", "llamafactory"])
def test_a_tool_with_one_rank_says_so_and_keeps_the_scale(tool):
    written = WRITERS[tool](chosen(SOME, ranks=RANKED))
    found = yaml.safe_load(written.text)
    assert (found.get("lora_r", found.get("lora_rank")), found["lora_alpha"]) == (4, 8)
    assert "the mean 4 of 2 to 6" in written.notes[-1]
    assert "--to peft" in written.notes[-1]


def test_unsloth_is_python_that_calls_its_function(monkeypatch):
    import sys
    from types import ModuleType

    calls = {}

    class FastLanguageModel:
        @staticmethod
        def from_pretrained(name, **options):
            calls["load"] = (name, options)
            return "model", "tokenizer"

        @staticmethod
        def get_peft_model(model, **options):
            calls["peft"] = options

    module = ModuleType("unsloth")
    module.FastLanguageModel = FastLanguageModel
    monkeypatch.setitem(sys.modules, "unsloth", module)
    exec(WRITERS["unsloth"](chosen(SOME, ranks=RANKED)).text)
    assert calls["load"] == ("org/model", {"revision": "abc", "load_in_4bit": False})
    assert calls["peft"]["target_modules"] == list(SOME)
    assert calls["peft"]["rank_pattern"] == {r"model\.layers\.10\.self_attn\.v_proj": 6}


def test_torchtune_keeps_the_scale_of_rank_stabilised_lora():
    types = [layer.name for layer in every() if layer.kind == "self_attn.q_proj"]
    arm = chosen(types, ranks=dict.fromkeys(types, 16), rslora=True)
    found = yaml.safe_load((written := WRITERS["torchtune"](arm)).text)["model"]
    assert found["lora_alpha"] / found["lora_rank"] == 32 / 16**0.5
    assert "the root of the rank" in " ".join(written.notes)


def test_one_rank_keeps_the_scale_of_rank_stabilised_lora():
    ranks = {SOME[0]: 4, SOME[1]: 36}
    found = yaml.safe_load(WRITERS["trl"](chosen(SOME, ranks=ranks, rslora=True)).text)
    assert found["lora_r"] == 20
    assert found["lora_alpha"] == round(20**0.5 * (8 / 4**0.5 + 72 / 36**0.5) / 2)


def test_torchtune_takes_whole_module_types_alone():
    types = [layer.name for layer in every() if layer.kind in ("self_attn.q_proj", "self_attn.o_proj")]
    found = yaml.safe_load(WRITERS["torchtune"](chosen(types)).text)["model"]
    assert found["lora_attn_modules"] == ["q_proj", "output_proj"]
    assert (found["apply_lora_to_mlp"], found["apply_lora_to_output"]) == (False, False)
    with pytest.raises(
        UserError, match=r"cannot train these 2 of 60 layers \(q_proj 1 of 12, v_proj 1 of 12\).*--to peft"
    ):
        WRITERS["torchtune"](chosen(SOME))


def test_full_fine_tuning_is_what_axolotl_alone_can_say():
    full = replace(chosen(SOME), ranks={}, alphas={})
    found = yaml.safe_load(WRITERS["axolotl"](full).text)
    assert found["unfrozen_parameters"] == [f"^{name}.weight$" for name in SOME]
    assert WRITERS["names"](full).text.splitlines() == list(SOME)
    for tool in ("peft", "trl", "llamafactory", "unsloth", "torchtune"):
        with pytest.raises(UserError, match=r"fine-tuned in full.*--to axolotl"):
            WRITERS[tool](full)


@pytest.mark.parametrize("flag", ["dora", "rslora"])
@pytest.mark.parametrize("tool", ["trl", "axolotl", "llamafactory"])
def test_variants_of_lora_are_named(tool, flag):
    found = yaml.safe_load(WRITERS[tool](chosen(SOME, **{flag: True})).text)
    assert [value for key, value in found.items() if key.endswith(f"use_{flag}")] == [True]


def test_trl_reads_its_configuration(tmp_path):
    trl = pytest.importorskip("trl")
    (tmp_path / "trl.yaml").write_text(WRITERS["trl"](chosen(SOME)).text)
    (model,) = trl.TrlParser((trl.ModelConfig,)).parse_args_and_config(["--config", str(tmp_path / "trl.yaml")])
    config = trl.get_peft_config(model)
    assert set(config.target_modules) == set(SOME)
    assert (config.r, config.lora_alpha, config.lora_dropout) == (4, 8, 0.1)
    assert (model.model_name_or_path, model.model_revision) == ("org/model", "abc")


@pytest.mark.parametrize("full", [False, True])
def test_axolotl_accepts_its_configuration(full):
    schema = pytest.importorskip("axolotl.utils.schemas.config", exc_type=ImportError)
    arm = chosen(SOME, ranks=RANKED)
    text = WRITERS["axolotl"](replace(arm, ranks={}, alphas={}) if full else arm).text
    rest = {"datasets": [{"path": "d", "type": "alpaca"}], "micro_batch_size": 1, "gradient_accumulation_steps": 1}
    read = schema.AxolotlInputConfig(**yaml.safe_load(text), **rest, learning_rate=1e-4)
    if full:
        assert read.unfrozen_parameters == [f"^{name}.weight$" for name in SOME]
    else:
        assert read.lora_target_modules == list(SOME)
        assert read.lora_rank_pattern == {r"model\.layers\.10\.self_attn\.v_proj": 6}
    unread = yaml.safe_load(text).keys() - schema.AxolotlInputConfig.model_fields.keys()
    assert not unread


def test_llamafactory_accepts_its_configuration():
    arguments = pytest.importorskip("llamafactory.hparams.finetuning_args", exc_type=ImportError)
    models = pytest.importorskip("llamafactory.hparams.model_args", exc_type=ImportError)
    from transformers import HfArgumentParser

    parser = HfArgumentParser((arguments.FinetuningArguments, models.ModelArguments))
    tuning, model = parser.parse_dict(yaml.safe_load(WRITERS["llamafactory"](chosen(SOME)).text))
    assert tuning.lora_target == list(SOME)
    assert (tuning.lora_rank, tuning.lora_alpha, tuning.finetuning_type) == (4, 8, "lora")
    assert (model.model_name_or_path, model.model_revision) == ("org/model", "abc")


def test_torchtune_accepts_its_configuration():
    import inspect

    models = pytest.importorskip("torchtune.models.llama3_2", exc_type=ImportError)
    from torchtune.modules.peft import LORA_ATTN_MODULES

    types = [layer.name for layer in every() if layer.kind in ("self_attn.q_proj", "self_attn.o_proj")]
    found = yaml.safe_load(WRITERS["torchtune"](chosen(types)).text)["model"]
    inspect.signature(models.lora_llama3_2_1b).bind(**found)
    assert set(found["lora_attn_modules"]) <= set(LORA_ATTN_MODULES.__args__)


def adapter_config(**values):
    names = [layer.name for layer in chosen(SOME).layers]
    return {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": names, **values}


@pytest.mark.parametrize(
    ("method", "configs", "ranks", "alphas"),
    [
        ("lora", [adapter_config()], (4, 4), (8, 8)),
        ("lora", [adapter_config(rank_pattern={r"layers\.1\.self_attn\.q_proj": 2})], (2, 4), (8, 8)),
        ("pissa", [adapter_config(r=8, lora_alpha=16)], (4, 4), (8, 8)),
        ("adalora", [adapter_config(peft_type="ADALORA", init_r=12, target_r=6, lora_alpha=24)], (6, 6), (12, 12)),
        ("rslora", [adapter_config(use_rslora=True)], (4, 4), (8, 8)),
        ("lora", [adapter_config(target_modules=[SOME[0]])], (4, 4), (8, 8)),  # a block whose turn never came
        ("lora", [adapter_config(target_modules=[SOME[0]]), adapter_config(r=8, lora_alpha=16)], (6, 8), (12, 16)),
    ],
)
def test_ranks_and_alphas_are_those_of_the_adapters(method, configs, ranks, alphas):
    found = _with_ranks(replace(chosen(SOME), ranks={}, alphas={}), configs, (), method)
    assert tuple(found.ranks[name] for name in SOME) == ranks
    assert tuple(found.alphas[name] for name in SOME) == pytest.approx(alphas)
