"""`[train]`: how models are fine-tuned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from layersig.plugin.components import Component, Params
from layersig.recipe.schema.common import Fraction, Table, TokenBudget

STANDARD_MILESTONES = (0.01, 0.25, 0.5, 0.75)
"""Fractions of the planned steps at which an update of factors is always kept: those of the paper's table 4."""

METHOD_KEYS = ("rank", "alpha", "dropout")
"""Keys of `[train]` that several tuning methods share; each says which of them it reads."""

Optimizer = Literal["adamw", "adamw-bf16", "adamw-8bit", "paged-adamw", "paged-adamw-8bit"]
"""AdamW, by how it holds its moments."""
MOMENT_BYTES: Mapping[str, float] = {
    "adamw": 8.0,
    "adamw-bf16": 4.0,
    "adamw-8bit": 2.0 + 2 * 4 / 256,
    "paged-adamw": 0.0,
    "paged-adamw-8bit": 0.0,
}
"""Bytes on the device of the two moments of a trained value; 8-bit ones have a float32 scale for every 256 values each,
and paged ones lie in memory of the host."""

Moment = Annotated[float, Field(ge=0, lt=1)]
_OMITTED = {"objective": "sft", "ranks": "equal", "optimizer": "adamw"}
"""Keys and values that change nothing: omitted, so that fingerprints from before the keys existed stay valid."""


def completed(own: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of a training of its own, whose tables have the other keys of the same tables in `[train]`."""
    return {
        key: {**shared[key], **value} if isinstance(value, Mapping) and isinstance(shared.get(key), Mapping) else value
        for key, value in own.items()
    }


class AdaLoraSettings(Params):
    """`[train.adalora]`: ranks that are cut while they train; every default is PEFT's."""

    target_r: int = Field(8, ge=1)
    """Mean rank of a layer once ranks are cut."""
    init_r: int = Field(12, ge=2)
    """Rank of every layer at first."""
    tinit: int = Field(0, ge=0)
    """Steps before ranks are cut."""
    tfinal: int = Field(0, ge=0)
    """Steps at the end in which ranks stay as they are."""
    deltaT: int = Field(1, ge=1)  # noqa: N815 - PEFT's name of it
    """Steps between two cuts."""
    beta1: float = Field(0.85, gt=0, lt=1)
    """Decay of the average of importance."""
    beta2: float = Field(0.85, gt=0, lt=1)
    """Decay of the average of its uncertainty."""
    orth_reg_weight: float = Field(0.5, ge=0)
    """Weight of the penalty on factors that are not orthogonal."""

    @model_validator(mode="after")
    def _cuts(self) -> Self:
        if self.target_r >= self.init_r:
            raise ValueError(f"`target_r` must be below `init_r`; got {self.target_r} and {self.init_r}")
        return self


class ResampleSettings(Table):
    """`resample` in the `train` of an arm: LISA, blocks in turns (arXiv 2403.17919)."""

    blocks: int = Field(2, ge=1)
    """Blocks of the selection that move at a time; the head, where it is selected, always does."""
    every: int = Field(20, ge=1)
    """Optimizer steps until others are drawn."""
    weights: Literal["equal", "scores"] = "equal"
    """How likely a block is drawn: `equal`, or in proportion to the sum of the scores of its chosen units, by the one
    ranking of the arm (as OwLore, arXiv 2405.18380, does with its outlier ratios)."""


class SearchSettings(Table):
    """`[train.search]`: the same trials for every arm, of which the best on a validation split becomes the arm."""

    learning_rates: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Peak learning rates to try. Absent: `learning_rate` alone."""
    epochs: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Lengths to try with each of them. Absent: `epochs` or `steps` alone."""
    validation: float = Field(0.1, gt=0, lt=1)
    """Share of the training conversations, by whole groups, that no trial trains on and the trials are compared by."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if max(len(self.learning_rates), 1) * max(len(self.epochs), 1) < 2:
            raise ValueError("a search takes two trials at least; give two `learning_rates` or `epochs`")
        return self


class TrainSettings(Table):
    """`[train]`: the reference training of all layers, and the default of every arm."""

    # The parameters of a method or an objective are the table of its name, so that a plugin can bring them.
    model_config = ConfigDict(**{**Table.model_config, "extra": "allow"})

    method: str = "lora"
    """How the chosen layers are tuned: the name of a tuning method, whose own parameters are in `[train.NAME]`."""
    rank: int = Field(32, ge=1)
    """LoRA rank r (paper: 32)."""
    ranks: Literal["equal", "scores", "budget"] = "equal"
    """In the `train` of an arm, `scores`: ranks that fall linearly from twice `rank` to 1 down the arm's ranking, with
    the mean `rank`. `budget`: parameters in proportion to the scores, from rank 1 to 4 `rank`, and in all no more than
    `rank` everywhere would have. The scale stays alpha / `rank`. Equal: `rank` everywhere. For LoRA."""
    alpha: float | None = Field(None, gt=0)
    """LoRA alpha; the update is scaled by alpha / r (AdaLoRA: alpha / init_r). Absent: 2 r (ours)."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout on the input of the factors (paper: 0.1); full fine-tuning has none."""
    adalora: AdaLoraSettings = AdaLoraSettings()
    """Ranks and budget of `method = "adalora"`."""
    objective: str = "sft"
    """What is learnt: the name of an objective, whose own parameters are in `[train.NAME]`. `sft`: the responses of
    conversations. `dpo`, `simpo`: to prefer the chosen response of a pair to the rejected one."""
    epochs: float | None = Field(None, gt=0)
    """Passes over the training split; 1 when neither `epochs` nor `steps` is given."""
    steps: int | None = Field(None, ge=1)
    """Optimizer steps, instead of `epochs`."""
    batch_size: int = Field(8, ge=1)
    """Examples in an optimizer step (ours)."""
    micro_batch_tokens: TokenBudget = "auto"
    """Tokens, padding included, that go through the model at once; changes memory and speed, never the result beyond
    rounding. `auto`: on a GPU as many as fit into the memory that is free then, 4096 on a CPU."""
    optimizer: Optimizer = "adamw"
    """AdamW, and how it holds the two moments of every trained value. `adamw`: float32, 8 bytes a value. `adamw-bf16`:
    bfloat16 rounded at random, 4 bytes. Of bitsandbytes: `adamw-8bit`, 2 bytes; `paged-adamw` and `paged-adamw-8bit`,
    8 and 2 bytes in memory of the host. For full fine-tuning of large models; changes results."""
    learning_rate: float = Field(2e-4, gt=0)
    """Peak learning rate (ours; the paper searched five values it does not list)."""
    betas: tuple[Moment, Moment] = (0.9, 0.99)
    """AdamW moments (paper)."""
    weight_decay: float = Field(0.1, ge=0)
    """AdamW weight decay (paper)."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Learning rate after warm-up (paper: cosine, to 0)."""
    warmup_ratio: float = Field(0.01, ge=0, lt=1)
    """Share of the steps spent warming up (paper: 0.01)."""
    clip: float | None = Field(1.0, gt=0)
    """Largest norm of the whole gradient (ours)."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    resample: ResampleSettings | None = None
    """In the `train` of an arm, LISA: of its layers only those of some blocks move at a time, drawn anew every so many
    steps. Absent: all of them in every step."""
    search: SearchSettings | None = None
    """Trials of learning rates and lengths; absent, every arm is trained once."""
    milestones: tuple[Fraction, ...] = ()
    """More fractions of the planned steps at which the reference update is kept. Every `checkpoint` of a scorer always
    is, and 1, 25, 50 and 75 % where the update is one of factors. The training ends at the last fraction that is read,
    which is the planned end where there are arms."""

    until: Literal["rank-stable"] | None = None
    """With `schedule = "constant"`, and `evaluate.all_layers = false` where there are arms: end the reference training
    once the ranking of layers by the size of their update is stable: once Kendall's tau with the look before has been
    at least 0.9 three times in a row, at twenty looks in the planned steps. Scorers read the update that is there
    then."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.epochs is not None and self.steps is not None:
            raise ValueError("give `epochs` or `steps`, not both")
        return self

    @property
    def reads_ranking(self) -> bool:
        """Whether a training reads the ranking of its arm."""
        return self.ranks != "equal" or (self.resample is not None and self.resample.weights != "equal")

    def table(self, component: str) -> dict[str, Any]:
        """What the recipe says in `[train.COMPONENT]`; empty where it says nothing."""
        own = self.adalora if component == "adalora" else (self.__pydantic_extra__ or {}).get(component, {})
        return own.model_dump(mode="json") if isinstance(own, Params) else dict(own)

    def params(self, component: Component) -> Params:
        """The parameters of the method or the objective that this training uses, every default filled in.

        Raises:
            pydantic.ValidationError: A value is wrong or a key unknown.
        """
        return component.parse(self.table(component.name))

    def effective(self, method: Component, objective: Component | None = None) -> dict[str, Any]:
        """The keys that change what a training does, as JSON values.

        Args:
            method: The tuning method that `method` names.
            objective: The objective that `objective` names; None for `sft`.
        """
        unread = {*METHOD_KEYS} - method.reads
        absent = {key for key in ("resample", "search") if getattr(self, key) is None}
        absent |= {key for key, usual in _OMITTED.items() if getattr(self, key) == usual}
        # A number that was not asked for changes rounding alone, and is the device's business.
        absent |= {"micro_batch_tokens"} if self.micro_batch_tokens == "auto" else set()
        tables = {"adalora", *(self.__pydantic_extra__ or {})}
        values = self.model_dump(
            mode="json", exclude={"milestones", "until", *unread, *absent, *tables - {method.name}}
        )
        if "resample" in values and values["resample"]["weights"] == "equal":
            del values["resample"]["weights"]
        for component in (method, *([] if objective is None else [objective])):
            if component.params.model_fields:
                values[component.name] = self.params(component).model_dump(mode="json")
        return values
