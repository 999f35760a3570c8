"""The layers of an arm as the configuration of a training tool, one function a tool.

YAML is written as keys with JSON values, which every YAML parser reads. Only what chooses layers is written: data,
batch size and learning rate stay the user's.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from layersig.errors import UserError
from layersig.exporting.chosen import Chosen
from layersig.jsonform import dumps


class Written(NamedTuple):
    """A configuration.

    Attributes:
        text: The text of the file.
        name: The usual name of the file.
        notes: What the tool cannot express, and what to do instead; one sentence each.
    """

    text: str
    name: str
    notes: tuple[str, ...] = ()


def names(chosen: Chosen) -> Written:
    """Full names of the layers, one a line."""
    return Written("".join(f"{layer.name}\n" for layer in chosen.layers), "layers.txt", chosen.notes)


def peft(chosen: Chosen) -> Written:
    """`adapter_config.json`: `LoraConfig.from_pretrained(FOLDER)` reads it."""
    _refuse_full(chosen, "PEFT trains adapters")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": chosen.base.name,
        "revision": chosen.base.revision,
        "bias": "none",
        **_lora(chosen),
    }
    return Written(dumps(config, indent=2) + "\n", "adapter_config.json", chosen.notes)


def axolotl(chosen: Chosen) -> Written:
    """Keys of axolotl's YAML: of an adapter, or `unfrozen_parameters` for full fine-tuning."""
    values: dict[str, Any] = {"base_model": chosen.base.name, "revision_of_model": chosen.base.revision}
    if chosen.full:
        # Dots are literal there.
        values["unfrozen_parameters"] = [f"^{_weight(chosen, layer.name)}$" for layer in chosen.layers]
        return _yaml(chosen, values, "axolotl.yaml")
    lora = _lora(chosen)
    alphas, odd = _whole(lora["alpha_pattern"], "axolotl")
    values |= {
        "adapter": "qlora" if chosen.base.quantized else "lora",
        "load_in_4bit": chosen.base.quantized or None,
        "lora_r": lora["r"],
        "lora_alpha": _whole_alpha(lora["lora_alpha"], odd, "axolotl"),
        "lora_dropout": lora["lora_dropout"],
        "lora_target_modules": lora["target_modules"],
        "lora_target_parameters": lora["target_parameters"],
        "lora_rank_pattern": lora["rank_pattern"] or None,
        "lora_alpha_pattern": alphas or None,
        "peft_use_dora": chosen.dora or None,
        "peft_use_rslora": chosen.rslora or None,
    }
    return _yaml(chosen, values, "axolotl.yaml", odd)


def llamafactory(chosen: Chosen) -> Written:
    """Keys of LLaMA-Factory's YAML."""
    _refuse_full(chosen, "LLaMA-Factory can freeze whole blocks or module types, but not single layers")
    if chosen.parameters:
        raise UserError(
            "LLaMA-Factory adapts modules, and some of these layers are fused experts; `--to peft`, `--to trl` and "
            "`--to axolotl` can name them"
        )
    rank, alpha, told = _one_rank(chosen, "LLaMA-Factory")
    values = {
        "model_name_or_path": chosen.base.name,
        "model_revision": chosen.base.revision,
        "quantization_bit": 4 if chosen.base.quantized else None,
        "finetuning_type": "lora",
        "lora_rank": rank,
        "lora_alpha": alpha,
        "lora_dropout": chosen.dropout,
        "lora_target": ",".join(chosen.modules),
        "use_dora": chosen.dora or None,
        "use_rslora": chosen.rslora or None,
    }
    return _yaml(chosen, values, "llamafactory.yaml", told)


def trl(chosen: Chosen) -> Written:
    """Keys of TRL's `ModelConfig`, for `trl sft --config FILE`."""
    _refuse_full(chosen, "`trl sft` trains adapters, or all weights")
    rank, alpha, told = _one_rank(chosen, "the command line of TRL", python="SFTTrainer(peft_config=...)")
    values = {
        "model_name_or_path": chosen.base.name,
        "model_revision": chosen.base.revision,
        "load_in_4bit": chosen.base.quantized or None,
        "use_peft": True,
        "lora_r": rank,
        "lora_alpha": alpha,
        "lora_dropout": chosen.dropout,
        "lora_target_modules": list(chosen.modules) or None,
        "lora_target_parameters": list(chosen.parameters.values()) or None,
        "use_dora": chosen.dora or None,
        "use_rslora": chosen.rslora or None,
    }
    return _yaml(chosen, values, "trl.yaml", told)


def unsloth(chosen: Chosen) -> Written:
    """A piece of Python that calls `FastLanguageModel.get_peft_model`."""
    _refuse_full(chosen, "Unsloth trains adapters, or all weights")
    if any(layer.block is None for layer in chosen.layers):
        raise UserError(
            "Unsloth trains an output head in full instead of by an adapter, so that it cannot train these layers; "
            "`--to peft` can name them"
        )
    lora = _lora(chosen)
    arguments = {
        "r": lora["r"],
        "lora_alpha": lora["lora_alpha"],
        "lora_dropout": lora["lora_dropout"],
        "target_modules": lora["target_modules"],
        "target_parameters": lora["target_parameters"],
        "use_rslora": chosen.rslora or None,
        "use_dora": chosen.dora or None,
        "rank_pattern": lora["rank_pattern"] or None,
        "alpha_pattern": lora["alpha_pattern"] or None,
    }
    lines = [
        *_head(chosen, ("Unsloth says that custom modules may be slower: full names count as such",)),
        "from unsloth import FastLanguageModel",
        "",
        "model, tokenizer = FastLanguageModel.from_pretrained(",
        f"    {json.dumps(chosen.base.name)},",
        *([f"    revision={json.dumps(chosen.base.revision)},"] if chosen.base.revision else []),
        f"    load_in_4bit={chosen.base.quantized},",
        ")",
        "model = FastLanguageModel.get_peft_model(",
        "    model,",
        *(f"    {key}={_python(value)}," for key, value in arguments.items() if value is not None),
        ")",
    ]
    return Written("\n".join(lines) + "\n", "unsloth_model.py", chosen.notes)


_TORCHTUNE = {"q_proj": "q_proj", "k_proj": "k_proj", "v_proj": "v_proj", "o_proj": "output_proj"}
"""Its name of a module by the last part of the name in transformers."""
_TORCHTUNE_MLP = {"gate_proj", "up_proj", "down_proj"}


def torchtune(chosen: Chosen) -> Written:
    """The arguments of a `lora_*` builder, where whole module types were chosen."""
    _refuse_full(chosen, "torchtune trains adapters, or all weights")
    every = Counter(_last(layer.name) for layer in chosen.of)
    own = Counter(_last(layer.name) for layer in chosen.layers)
    mlp = _TORCHTUNE_MLP & own.keys()
    known = own.keys() <= {*_TORCHTUNE, *_TORCHTUNE_MLP, "lm_head"}
    complete = all(own[kind] == every[kind] for kind in own) and mlp in (set(), _TORCHTUNE_MLP & every.keys())
    if not known or not complete:
        parts = ", ".join(f"{kind} {count} of {every[kind]}" for kind, count in sorted(own.items()))
        raise UserError(
            f"torchtune puts adapters on module types in every block (`lora_attn_modules`), so it cannot train these "
            f"{len(chosen.layers)} of {len(chosen.of)} layers ({parts}); `--to peft`, `--to axolotl` and the other "
            "tools can, and `--to names` lists them"
        )
    stabilised: tuple[str, ...] = ()
    if chosen.rslora:
        scaled = {name: alpha * chosen.ranks[name] ** 0.5 for name, alpha in chosen.alphas.items()}
        chosen = replace(chosen, alphas=scaled, rslora=False)
        stabilised = ("torchtune has no rank-stabilised LoRA: alpha is multiplied by the root of the rank instead",)
    rank, alpha, told = _one_rank(chosen, "torchtune")
    told = (*stabilised, *told)
    values = {
        "lora_attn_modules": [name for kind, name in _TORCHTUNE.items() if own[kind]],
        "apply_lora_to_mlp": bool(mlp),
        "apply_lora_to_output": bool(own["lm_head"]),
        "lora_rank": rank,
        "lora_alpha": alpha,
        "lora_dropout": chosen.dropout,
        "use_dora": chosen.dora or None,
    }
    lines = [*_head(chosen, told), "model:", *(f"  {line}" for line in _lines(values))]
    return Written("\n".join(lines) + "\n", "torchtune.yaml", (*chosen.notes, *told))


WRITERS: Mapping[str, Callable[[Chosen], Written]] = {
    "names": names,
    "peft": peft,
    "trl": trl,
    "axolotl": axolotl,
    "llamafactory": llamafactory,
    "unsloth": unsloth,
    "torchtune": torchtune,
}
"""What writes the configuration of a tool, by the name of the tool."""


def _lora(chosen: Chosen) -> dict[str, Any]:
    """The keys of PEFT's `LoraConfig`; the commonest rank is `r`, others are in the patterns."""
    rank = Counter(chosen.ranks.values()).most_common(1)[0][0]
    alpha = Counter(chosen.alphas.values()).most_common(1)[0][0]
    key = {name: re.escape(chosen.parameters.get(name, name)) for name in chosen.ranks}
    return {
        "r": rank,
        "lora_alpha": _number(alpha),
        "lora_dropout": chosen.dropout,
        "target_modules": list(chosen.modules),
        "target_parameters": list(chosen.parameters.values()) or None,
        "rank_pattern": {key[name]: own for name, own in chosen.ranks.items() if own != rank},
        "alpha_pattern": {key[name]: _number(own) for name, own in chosen.alphas.items() if own != alpha},
        "use_dora": chosen.dora,
        "use_rslora": chosen.rslora,
    }


def _one_rank(chosen: Chosen, tool: str, *, python: str = "") -> tuple[int, int, tuple[str, ...]]:
    """Rank and alpha where a tool has one of each; the scale of the update stays on average."""
    lora = _lora(chosen)
    if not lora["rank_pattern"] and not lora["alpha_pattern"]:
        alpha = round(lora["lora_alpha"])
        return lora["r"], alpha, _rounded(lora["lora_alpha"], alpha, tool)
    mean = max(1, round(sum(chosen.ranks.values()) / len(chosen.ranks)))
    power = 0.5 if chosen.rslora else 1.0
    scales = [chosen.alphas[name] / rank**power for name, rank in chosen.ranks.items()]
    exact = mean**power * sum(scales) / len(scales)
    least, most = min(chosen.ranks.values()), max(chosen.ranks.values())
    way = f"; `--to peft` has them, for {python}" if python else "; `--to peft` and `--to axolotl` have them"
    told = f"{tool} has one rank for all layers, here the mean {mean} of {least} to {most}{way}"
    return mean, round(exact), (told, *_rounded(exact, round(exact), tool))


def _rounded(exact: float, whole: int, tool: str) -> tuple[str, ...]:
    return (f"{tool} takes a whole number as alpha: {whole} for {exact:g}",) if exact != whole else ()


def _whole(pattern: Mapping[str, float], tool: str) -> tuple[dict[str, int], list[str]]:
    """Alphas as the whole numbers that a tool asks for, and what was rounded."""
    whole = {name: max(1, round(value)) for name, value in pattern.items()}
    odd = sum(whole[name] != value for name, value in pattern.items())
    return whole, [f"{tool} takes whole numbers as alphas: {odd} are rounded; `--to peft` has them"] if odd else []


def _whole_alpha(alpha: float, odd: list[str], tool: str) -> int:
    odd.extend(_rounded(alpha, round(alpha), tool))
    return round(alpha)


def _refuse_full(chosen: Chosen, why: str) -> None:
    if chosen.full:
        raise UserError(
            f"the layers were fine-tuned in full, and {why}; `--to axolotl` writes `unfrozen_parameters`, `--to names` "
            "the names for `requires_grad`"
        )


def _weight(chosen: Chosen, name: str) -> str:
    by_name = {layer.name: layer for layer in chosen.layers}
    return name if by_name[name].is_parameter else f"{name}.weight"


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _number(value: float) -> float:
    return int(value) if value == int(value) else value


def _head(chosen: Chosen, notes: Sequence[str] = ()) -> list[str]:
    return [
        f"# {len(chosen.layers)} of {len(chosen.of)} layers, chosen by layersig: {chosen.title}",
        *(f"# {note}" for note in (*chosen.notes, *notes)),
    ]


def _yaml(chosen: Chosen, values: Mapping[str, Any], name: str, notes: Sequence[str] = ()) -> Written:
    return Written("\n".join([*_head(chosen, notes), *_lines(values)]) + "\n", name, (*chosen.notes, *notes))


def _lines(values: Mapping[str, Any]) -> list[str]:
    """Keys with JSON values, lists and tables with one entry a line; None is left out."""
    lines: list[str] = []
    for key, value in values.items():
        if isinstance(value, list):
            lines += [f"{key}:", *(f"  - {dumps(entry)}" for entry in value)]
        elif isinstance(value, dict):
            lines += [f"{key}:", *(f"  {dumps(name)}: {dumps(entry)}" for name, entry in value.items())]
        elif value is not None:
            lines.append(f"{key}: {dumps(value)}")
    return lines


def _python(value: Any) -> str:
    if isinstance(value, list):
        return "[\n" + "".join(f"        {json.dumps(entry)},\n" for entry in value) + "    ]"
    if isinstance(value, dict):
        return "{\n" + "".join(f"        {json.dumps(key)}: {entry!r},\n" for key, entry in value.items()) + "    }"
    return repr(value)
