"""What an arm of a run trains: its layers with rank and alpha, as far as a training tool needs to know."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NotRequired

from layersig.errors import UserError
from layersig.exporting.base import Base
from layersig.exporting.cells import ADAPTERS, cells_of, seed_of
from layersig.findings.files import RunFiles
from layersig.jsonform import Open, read_json
from layersig.layers import Layer
from layersig.recipe.load import stored
from layersig.recipe.schema import ALL_LAYERS, Recipe
from layersig.records import Cell


class ConfigForm(Open):
    """`adapter_config.json`, as far as it is read here."""

    peft_type: str
    r: int
    lora_alpha: float
    lora_dropout: NotRequired[float]
    use_dora: NotRequired[bool]
    use_rslora: NotRequired[bool]
    rank_pattern: NotRequired[dict[str, int | list[bool]] | None]
    alpha_pattern: NotRequired[dict[str, float] | None]
    init_r: NotRequired[int]
    target_r: NotRequired[int]
    target_modules: NotRequired[list[str] | None]
    target_parameters: NotRequired[list[str] | None]


@dataclass(frozen=True)
class Chosen:
    """What an arm trains.

    Attributes:
        title: Run, arm, data set and seeds, for the first line of a file.
        base: The model.
        layers: The layers, in model order.
        of: Every layer of the model.
        ranks: Rank by name of the layer; empty after full fine-tuning, which has none.
        alphas: Alpha likewise.
        parameters: What PEFT calls a layer in `target_parameters`, by name; fused experts are targeted there.
        dropout: Dropout on the input of the factors.
        dora: Whether the adapter is one of DoRA.
        rslora: Whether its scale is alpha over the root of the rank.
        notes: What the reader must know, one sentence each.
    """

    title: str
    base: Base
    layers: tuple[Layer, ...]
    of: tuple[Layer, ...]
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]
    parameters: Mapping[str, str] = field(default_factory=dict)
    dropout: float = 0.0
    dora: bool = False
    rslora: bool = False
    notes: tuple[str, ...] = ()

    @property
    def full(self) -> bool:
        """Whether the layers were fine-tuned in full, without an adapter."""
        return not self.ranks

    @property
    def modules(self) -> tuple[str, ...]:
        """Full names of the layers that are modules of their own."""
        return tuple(layer.name for layer in self.layers if layer.name not in self.parameters)


def removes(run: Path, arm: str) -> bool:
    """Whether an arm removes layers instead of training them."""
    return any(each.name == arm and each.action == "prune" for each in stored(run / "resolved.toml").arms)


def read_chosen(run: Path, arm: str, base: Base, *, data: str | None = None, seed: int | None = None) -> Chosen:
    """What an arm of a run trains.

    Where several seeds fit, the layers are those chosen most often, as many as one seed chose on average.

    Args:
        run: The run folder.
        arm: The arm.
        base: Its model.
        data: The data set that the arm was trained on; required where there are several.
        seed: One seed; None for all of them.

    Raises:
        UserError: There is no such arm, it removes layers instead of training them, or the run did not get to its end.
    """
    cells = cells_of(run, arm, data, seed)
    recipe, files = stored(run / "resolved.toml"), RunFiles(run)
    if removes(run, arm):
        raise UserError(f"{arm} removes layers; export its model instead: `layersig export RUN {arm} FOLDER`")
    if files.layers is None:
        raise UserError(f"{run} has no layers.json; run the recipe again")
    every = tuple(files.layers)
    place, seeds = cells[0].parts[1], [seed_of(cell) for cell in cells]
    chosen, notes = _layers(files, recipe, arm, place, seeds)
    if files.manifest["smoke"]:
        notes += (f"{run} is a smoke run, whose choice of layers means nothing",)
    names = set(chosen)
    layers = tuple(layer for layer in every if layer.name in names)
    run_name = f"{files.manifest['name']}/{files.manifest['id']}"
    known = Chosen(f"{run_name} {arm} on {place}, {_numbered(seeds)}", base, layers, every, {}, {})
    configs = [
        read_json(file, ConfigForm)
        for cell in cells
        if (file := run / ADAPTERS / cell / "adapter_config.json").exists()
    ]
    return _with_ranks(known, configs, notes, _method(recipe, arm))


def _numbered(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _method(recipe: Recipe, arm: str) -> str:
    """The tuning method of an arm."""
    own = next((each.train.get("method") for each in recipe.arms if each.name == arm), None)
    return recipe.train.method if own is None else str(own)


def _layers(
    files: RunFiles, recipe: Recipe, arm: str, data: str, seeds: Sequence[int]
) -> tuple[Sequence[str], tuple[str, ...]]:
    """The layers of an arm over some seeds, and how they came about."""
    assert files.layers is not None
    if arm == ALL_LAYERS:  # the reference training has no selection: it trains all of them
        return files.layers.names, ()
    label = files.label(data)
    found = [
        each.selection.layers
        for each in files.selections
        if each.cell.arm == arm and each.cell.data in (label, None) and each.cell.seed in (*seeds, None)
    ]
    if not found:
        raise UserError(f"{files.path}: the run has not written its selections yet; run its recipe to the end")
    if len(found) == 1:
        return found[0], ()
    count = round(sum(map(len, found)) / len(found))
    times = Counter(name for selection in found for name in selection)
    rank = _mean_ranks(files, recipe, arm, label)
    order = {name: place for place, name in enumerate(files.layers.names)}
    best = sorted(times, key=lambda name: (-times[name], rank.get(name, 0.0), order[name]))[:count]
    always = sum(times[name] == len(found) for name in best)
    return best, (
        f"the {count} layers chosen most often over {len(found)} seeds: {always} of them in every seed, the others in "
        f"at least {min(times[name] for name in best)}; --seed K exports the choice of one seed",
    )


def _mean_ranks(files: RunFiles, recipe: Recipe, arm: str, data: str | None) -> Mapping[str, float]:
    """Mean rank over seeds of the rankings that an arm reads, by layer: it decides between equally frequent layers."""
    scorers = {name for each in recipe.arms if each.name == arm for name in each.scorers}
    own = [each for each in files.rankings if each.cell.scorer in scorers and each.cell.data in (data, None)]
    latest: dict[Cell, Mapping[str, float]] = {}
    for each in sorted(own, key=lambda each: each.cell.checkpoint or 0.0):
        groups = {group.name: group.members for group in files.groups(each.ranking.unit)}
        latest[Cell(scorer=each.cell.scorer, seed=each.cell.seed)] = {
            layer.name: float(rank) for rank, name in enumerate(each.ranking.ordered()) for layer in groups[name]
        }
    names = {name for ranks in latest.values() for name in ranks}
    return {name: sum(ranks.get(name, len(names)) for ranks in latest.values()) / len(latest) for name in names}


def _with_ranks(chosen: Chosen, configs: Sequence[ConfigForm], notes: tuple[str, ...], method: str) -> Chosen:
    """The same with ranks and alphas as the adapters have them, averaged over seeds."""
    if not configs:
        return replace(chosen, notes=notes)
    first = configs[0]
    if first["peft_type"] == "ADALORA":
        notes += ("AdaLoRA cut the ranks while it trained; this configures LoRA of its mean rank on the same layers",)
    doubled = 2 if method == "pissa" else 1
    if doubled == 2:
        notes += (
            "PiSSA trained from another start, which makes the adapter one of twice the rank; this configures LoRA",
        )
    targeted = {name for config in configs for name in config.get("target_parameters") or ()}
    parameters = {
        layer.name: name for layer in chosen.layers for name in (layer.name, f"{layer.name}.weight") if name in targeted
    }
    ranks, alphas = {}, {}
    for layer in chosen.layers:
        name = parameters.get(layer.name, layer.name)
        holding = [config for config in configs if name in _targets(config)] or configs  # no turn came to it
        pairs = [_rank_and_scale(config, name) for config in holding]
        ranks[layer.name] = rank = max(1, round(sum(rank for rank, _ in pairs) / len(pairs) / doubled))
        scale = sum(scale for _, scale in pairs) / len(pairs)
        alphas[layer.name] = round(scale * _divisor(rank, first), 6)
    return replace(
        chosen,
        ranks=ranks,
        alphas=alphas,
        parameters=parameters,
        dropout=first.get("lora_dropout", 0.0),
        dora=first.get("use_dora", False),
        rslora=first.get("use_rslora", False),
        notes=notes,
    )


def _targets(config: ConfigForm) -> set[str]:
    """What an adapter holds: layersig writes full names."""
    return {*(config.get("target_modules") or ()), *(config.get("target_parameters") or ())}


def _rank_and_scale(config: ConfigForm, name: str) -> tuple[int, float]:
    """The rank of a layer, and the scale of its factors."""
    if config["peft_type"] == "ADALORA":
        return config.get("target_r", config["r"]), config["lora_alpha"] / config.get("init_r", config["r"])
    rank, alpha = _matching(config.get("rank_pattern"), name), _matching(config.get("alpha_pattern"), name)
    own = rank if isinstance(rank, int) else config["r"]
    return own, float(alpha if isinstance(alpha, int | float) else config["lora_alpha"]) / _divisor(own, config)


def _divisor(rank: int, config: ConfigForm) -> float:
    """What alpha is divided by."""
    return rank**0.5 if config.get("use_rslora") else rank


def _matching(pattern: Mapping[str, object] | None, name: str) -> object:
    """The value of a layer by the rule of PEFT: a pattern fits the end of the name, and the first that fits counts."""
    return next((value for key, value in (pattern or {}).items() if re.match(rf"(.*\.)?({key})$", name)), None)
