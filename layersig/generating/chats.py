"""What a model answers in chats: batched, from named streams, the same however often and wherever it is asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from transformers import PreTrainedModel
from typing_extensions import TypedDict

from layersig.data.chat import ChatFormat
from layersig.data.conversation import Message
from layersig.fast.decoder import Decoder
from layersig.generating.ends import end_tokens
from layersig.generating.generation import generated
from layersig.generating.prompts import Completion, Prompt
from layersig.generating.sampling import GREEDY, Sampler, Sampling
from layersig.recipe.schema import TokenBudget
from layersig.streams import Streams

Finish = Literal["stop", "length", "context", "no-room"]
Key = tuple[str, int]


class Chat(NamedTuple):
    """Messages that end with a user turn, to be answered.

    Attributes:
        id: Names the random streams of its answers; unique among the chats that are answered together.
        messages: The turns so far.
        tools: Tools that may be called.
    """

    id: str
    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()


class ResponseForm(TypedDict):
    """What `Response.to_json` gives."""

    chat: str
    sample: int
    seed: int
    text: str
    tokens: int
    finish: Finish


@dataclass(frozen=True, slots=True)
class Response:
    """What a model answered.

    Attributes:
        chat: Id of the chat.
        sample: Number of the answer among those to the same chat, from 0.
        seed: Seed of its random stream.
        text: The answer without the token that ended it and without white space around it.
        tokens: Tokens written, with the one that ended it.
        finish: `stop`: the model ended its turn. `length`: cut at the largest number of tokens. `context`: cut earlier,
            where the model's context ended. `no-room`: the chat alone fills the context; nothing was written.
    """

    chat: str
    sample: int
    seed: int
    text: str
    tokens: int
    finish: Finish

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Response:
        """The response that `to_json` wrote."""
        return cls(**value)


def answer_chats(
    model: PreTrainedModel,
    chat_format: ChatFormat,
    chats: Sequence[Chat],
    streams: Streams,
    *,
    max_new_tokens: int,
    sampling: Sampling = GREEDY,
    samples: int = 1,
    batch_tokens: TokenBudget = "auto",
    fast: bool = True,
    done: Callable[[int, int], None] = lambda responses, tokens: None,
) -> list[Response]:
    """Answer chats; all at once, see `responses` for one batch after the other.

    Args:
        model: In eval mode, with or without an adapter.
        chat_format: Its tokenizer with the chat template that holds.
        chats: What to answer, in any order.
        streams: Where the random stream of every answer hangs, as `response`, the id of the chat, and the sample.
        max_new_tokens: Largest number of tokens of an answer.
        sampling: Greedy by default.
        samples: Answers to each chat.
        batch_tokens: Tokens of a batch at its longest, chats and answers together; for memory and speed. "auto" leaves
            them to the device.
        fast: False answers each chat by itself through the model's own forward.
        done: Called with responses finished and tokens run.

    Returns:
        Responses in order of the chats, then of the samples.

    Raises:
        UserError: The template cannot render a chat.
        StageFailed: The model gives NaN.
    """
    found = responses(
        model,
        chat_format,
        chats,
        streams,
        max_new_tokens=max_new_tokens,
        sampling=sampling,
        samples=samples,
        batch_tokens=batch_tokens,
        fast=fast,
        done=done,
    )
    by_key = {(each.chat, each.sample): each for batch in found for each in batch}
    return [by_key[chat.id, sample] for chat in chats for sample in range(samples)]


def responses(
    model: PreTrainedModel,
    chat_format: ChatFormat,
    chats: Sequence[Chat],
    streams: Streams,
    *,
    max_new_tokens: int,
    sampling: Sampling,
    samples: int,
    batch_tokens: TokenBudget,
    known: Collection[Key] = (),
    fast: bool = True,
    state: Path | None = None,
    done: Callable[[int, int], None] = lambda responses, tokens: None,
) -> Iterator[list[Response]]:
    """The responses of `answer_chats`, batch by batch, so that they can be kept as they come.

    The arguments are those of `answer_chats`, and two more.

    Args:
        model: In eval mode, with or without an adapter.
        chat_format: Its tokenizer with the chat template that holds.
        chats: What to answer, in any order.
        streams: Random streams.
        max_new_tokens: Largest number of tokens of an answer.
        sampling: How tokens are drawn.
        samples: Answers to each chat.
        batch_tokens: Tokens of a batch at its longest.
        known: (id of the chat, sample) that need no answer any more. They change neither batches nor other responses.
        fast: False answers each chat by itself through the model's own forward.
        state: File in which a batch that takes long is saved from time to time, and found by the next process.
        done: Called with responses finished and tokens run; known responses are not counted.

    Yields:
        Responses that were not known.
    """
    room = context_length(model) or 2**62
    keys = [(chat.id, sample) for chat in chats for sample in range(samples)]
    seeds = [streams.number("response", *key) for key in keys]
    prompts = []
    for chat in chats:
        tokens = tuple(int(token) for token in chat_format.prompt(chat.messages, chat.tools))
        prompts += [Prompt(tokens, (), min(max_new_tokens, room - len(tokens)))] * samples
    fitting = [index for index, prompt in enumerate(prompts) if prompt.most > 0]
    full = [index for index, prompt in enumerate(prompts) if prompt.most <= 0 and keys[index] not in known]
    if full:
        yield [Response(*keys[index], seeds[index], "", 0, "no-room") for index in full]
        done(len(full), 0)
    ends = turn_ends(model, chat_format)
    batches = generated(
        Decoder(model, fast=fast),
        chat_format.tokenizer,
        [prompts[index] for index in fitting],
        batch_tokens,
        sampler=Sampler(sampling, [seeds[index] for index in fitting]),
        ends=ends,
        known={place for place, index in enumerate(fitting) if keys[index] in known},
        state=state,
        done=done,
    )

    def response(written: Completion) -> Response:
        index, tokens = fitting[written.prompt], written.tokens
        finish: Finish = "stop" if written.ended else "length" if len(tokens) == max_new_tokens else "context"
        text = chat_format.tokenizer.decode(tokens[:-1] if written.ended else tokens, skip_special_tokens=True)
        return Response(*keys[index], seeds[index], str(text).strip(), len(tokens), finish)

    for batch in batches:
        yield [response(each) for each in batch if keys[fitting[each.prompt]] not in known]


def turn_ends(model: PreTrainedModel, chat_format: ChatFormat) -> frozenset[int]:
    """Tokens after which an assistant's turn is over, see `end_tokens`."""
    return end_tokens(model, chat_format.tokenizer, chat_format.turn_end)


def context_length(model: PreTrainedModel) -> int | None:
    """Tokens that the model's positions reach; None when its configuration names no limit."""
    config = model.config.get_text_config(decoder=True)
    named = (getattr(config, name, None) for name in ("max_position_embeddings", "n_positions", "n_ctx"))
    return next((int(length) for length in named if length), None)
