"""The contract of every kind of stage, in the order of a study: parameters, inputs, output, version, body.

Here are those up to the model of every arm; those that measure it are in `measurements`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from layersig.recipe.schema import AUTO_BATCH_ON_CPU, GenerateSettings, TaskSettings, TokenBudget, TrainSettings
from layersig.stages.measurements import Answer, Compare, Evaluate, Grade, Overlap
from layersig.stages.spec import ModelSpec, ReadingSpec, StageSpec


class Layers(StageSpec):
    """The layer map of `model`, from its configuration: `layers.json`."""

    kind = "layers"
    version = 1
    body = "layersig.models.stages:layers"
    reads = ("model",)

    head: bool
    """Whether the output head counts as a layer."""


class Generate(ReadingSpec):
    """The answers of the untouched `model` to the first prompts of `rows`, as in `Data`, whose answers may be missing.

    With a `server`, its answers: the model is read for its chat template alone.

    Output: `responses.jsonl`, a response a line in order of prompts and samples: `prompt` (id), `sample`, `seed`,
    `finish`, `tokens`, `dropped` (reason, or null), `example` (id of the conversation that it became, or null), `text`;
    `rows.jsonl`, what is kept, for the data stage: `messages`, `group`, `prompt`, `sample`; `report.json`.
    """

    kind = "generate"
    version = 5
    manner = ReadingSpec.manner | {"asking"}
    body = "layersig.generating.stage:generate"
    reads = ("model", "rows")

    generate: GenerateSettings
    limit: int | None
    """Rows whose prompts are answered: those that the same limit takes in `Data`; None for all."""
    group_by: str | None
    fields: dict[str, Any] | None = None
    where: dict[str, list[str]] = {}
    chat_template: str
    """`auto`, `plain`, or the text of a Jinja template."""
    server: dict[str, Any] | None = None
    """`url`, `model` and `length_key` of the server that writes the responses; None: they are generated here."""
    asking: dict[str, Any] | None = None
    """How it is asked: `key_env`, `timeout`, `concurrency`."""

    @property
    def computes(self) -> bool:
        """What a server writes does not depend on this machine's arithmetic."""
        return self.server is None and super().computes

    @property
    def fingerprinted(self) -> dict[str, Any]:
        """As for every stage that runs a model, with the `batch_tokens` of `generate`."""
        found = super().fingerprinted
        if found["generate"].get("batch_tokens") == "auto":
            found["generate"] = {**found["generate"], "batch_tokens": AUTO_BATCH_ON_CPU}
        return found


class Data(StageSpec):
    """The conversations of `rows` (a `.jsonl`, `.json` or `.parquet` file), tokenised for `model` and split.

    The parameters are those of `DataSettings`.

    Output: `train.*` and `heldout.*` as `write_examples` writes them, in order of the ids; `report.json`, a
    `DataReport`; `train.txt`, the normalised words of every training conversation, untruncated, a line each, for the
    overlap with benchmarks. Of pairs, these have the chosen responses, and `train-rejected.*` and
    `heldout-rejected.*` the rejected ones, in the same order.
    """

    kind = "data"
    version = 5
    body = "layersig.data.stage:prepare"
    reads = ("model", "rows")

    limit: int | None
    heldout: int | float
    group_by: str | None
    fields: dict[str, Any] | None = None
    where: dict[str, list[str]] = {}
    half: int | None = None
    train_limit: int | None = None
    max_tokens: int
    max_rewritten: float
    text: str = "natural"
    pairs: bool = False
    """Whether rows are pairs of a chosen and a rejected response."""
    chat_template: str
    """`auto`, `plain`, or the text of a Jinja template."""


class Untouched(ReadingSpec):
    """Log-probabilities of the responses of the pairs in `data` under the untouched `model`.

    Output: those of a side of the split, as `data.pairs.write_before` writes them.
    """

    kind = "untouched"
    version = 1
    body = "layersig.evaluating.untouched:untouched"
    reads = ("model", "data")
    shared = "items"

    split: str
    """`train` or `heldout`."""
    batch_tokens: TokenBudget
    """Padded tokens that go through the model at once."""


class Training(ModelSpec):
    """A training of `model` on the training split of `data`, to which the layers in `layers` belong.

    `untouched` has the log-probabilities that the objective reads, where it reads some.
    """

    reads: ClassVar[tuple[str, ...]] = ("model", "layers", "data")
    may_read: ClassVar[tuple[str, ...]] = ("untouched",)
    shared = "sums"

    train: TrainSettings


class Reference(Training):
    """The training of all layers, which keeps the update at every milestone as a folder `at-FRACTION`.

    It ends at the last milestone; up to there it is the same as one that runs to its planned end. With `until` there
    are no milestones: it ends where `rank_stability` says so, else at its planned end, and keeps the update as
    `at-stable`.

    Output: the updates (adapters, or differences of weights after full fine-tuning, with the checkpoint `model/` at the
    planned end); `log.json`: every step without its time, the planned number of steps, the arithmetic used, and
    epsilon-stability (arXiv 2410.17875); with a search `search.json`.
    """

    kind = "reference"
    version = 4
    body = "layersig.training.stages:reference"

    milestones: tuple[float, ...] = ()
    """Fractions of the planned steps, ascending."""
    until: str | None = None

    @property
    def length(self) -> frozenset[str]:
        """The milestones, unless trials of a search are compared at their ends, from which none can be continued."""
        return frozenset() if self.train.search or self.until else frozenset({"milestones"})


class GivenUpdate(StageSpec):
    """An update that the recipe brings, as that of a reference training: `at-1/`, and `origin.json`."""

    kind = "update"
    version = 2
    body = "layersig.models.external_update:update"
    reads = ("model", "layers", "update")


class Score(ModelSpec):
    """A scorer's ranking of the units in `layers`.

    Of the inputs it reads those that the scorer needs: `update` is the folder of one update, `checkpoints` the output
    of a reference training, `rankings` a `scores.jsonl`, `task/N` the tasks of its own parameters and `evaluated/N`
    those that arms are measured on.

    Output: `ranking.json`; `trajectory.jsonl` where the scorer keeps one; `ablations/` where it keeps evaluations.
    """

    kind = "score"
    version = 7
    body = "layersig.scoring.stage:score"
    reads = ("layers",)
    may_read = ("model", "data", "untouched", "update", "checkpoints", "rankings", "task/*", "evaluated/*")
    shared = "sums"

    scorer: str
    params: dict[str, Any]
    """The scorer's own."""
    unit: str
    stream: int = 0
    """Number of a repeat with other random draws."""
    train: TrainSettings | None = None
    """Given, like the parameters of a model, where the scorer computes."""
    dtype: str = "auto"
    device: str = "auto"
    quantization: Literal["none", "nf4"] = "none"
    attention: str = "sdpa"
    fast: bool = True
    evaluated: tuple[TaskSettings, ...] = ()
    """What arms are measured on, which selection tasks leave out."""
    same_items: tuple[tuple[str, str], ...] = ()
    """Pairs of tasks of which `limit` draws the same items."""
    batch_tokens: TokenBudget = "auto"
    allow_code_execution: bool = False
    chat_template: str = "auto"


class Select(StageSpec):
    """What a policy selects of the units in `layers`: `selection.json`.

    It reads `ranking/SCORER/DATA` for every ranking that the policy needs, `like`, a selection to be matched, and for a
    policy that reads costs the configuration of `model`.
    """

    kind = "select"
    version = 1
    body = "layersig.selecting.stage:select"
    reads = ("layers",)
    may_read = ("ranking/*", "like", "model")

    policy: str
    params: dict[str, Any]
    """The policy's own."""
    unit: str
    train: TrainSettings | None = None
    """What decides the costs of a training, given where the policy reads them."""


class Tune(Training):
    """The training of the layers in `selection`, with ranks or turns by `ranking` where `train` says so.

    Output: `adapter/`, or after full fine-tuning the checkpoint `model/`; `log.json`; with a search `search.json`. With
    `train.resample` blocks take turns, listed in `log.json` as `blocks_in_turn`; a block that is never drawn stays
    without an adapter.
    """

    kind = "tune"
    version = 4
    body = "layersig.training.stages:tune"
    reads: ClassVar[tuple[str, ...]] = (*Training.reads, "selection")
    may_read = (*Training.may_read, "ranking")


class Graft(StageSpec):
    """The reference `update` on the layers in `selection` only; nothing is trained.

    This is the masked model of ILA (arXiv 2410.17875, section 2) with gamma in {0, 1}.

    Output: `adapter/` (of LoRA, also from AdaLoRA's factors), or for a difference of weights, which needs `model`, the
    checkpoint `model/`.
    """

    kind = "graft"
    version = 1
    body = "layersig.models.stages:graft"
    reads = ("layers", "update", "selection")
    may_read = ("model",)


class Prune(StageSpec):
    """The checkpoint `model` without the blocks in `selection`.

    Output: `model/`; `all/`, which describes what is left: its layer map, a selection of all of it, and in
    `pruned.json` the names of the blocks that are gone.
    """

    kind = "prune"
    version = 2
    body = "layersig.pruning.surgery:prune"
    reads = ("model", "layers", "selection")

    head: bool
    """Whether the output head counts as a layer."""


class Patch(ModelSpec):
    """The checkpoint `model`, left by a pruning of `base`, with a linear map where blocks are gone.

    x + x W enters the block behind a cut. W is the least-squares map from the states in front of the removed blocks to
    those behind them, over all tokens of the drawn training examples in `data`. After "Ghosted Layers" (arXiv
    2605.15491, of which a note was read). Deviations: the states are those of `base`, also behind an earlier cut; and
    where tokens do not span the space, W is the smallest solution.

    Output: `model/`, the checkpoint with the maps, which layersig alone loads.
    """

    kind = "patch"
    version = 1
    body = "layersig.pruning.patching:patch"
    reads = ("base", "model", "layers", "all", "data")

    examples: int
    """Training examples to fit the maps on."""


class Recover(Tune):
    """As `Tune`, of what pruning left; `base` is the model that was pruned, the other inputs are of the rest."""

    kind = "recover"
    version = 3
    body = "layersig.training.stages:recover"
    reads = (*Tune.reads, "base")

    scope: str = "all"
    """What is trained, by `recover_on` of the arm: all blocks, those next to a cut, or the last ones and the head."""


SPECS: Mapping[str, type[StageSpec]] = {
    each.kind: each
    for each in (
        Layers, Generate, Data, Untouched, Reference, GivenUpdate, Score, Select, Tune, Graft, Prune, Patch, Recover,
        Evaluate, Overlap, Answer, Grade, Compare,
    )
}  # fmt: skip
"""The class of every kind, by its name."""
