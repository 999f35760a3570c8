"""The data stage: a raw file becomes a tokenised training and held-out split, and a report of what happened to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from layersig.data.chat import ChatFormat
from layersig.data.conversation import Conversation
from layersig.data.diversity import Diversity, diversity
from layersig.data.encoding import CannotEncode, EncodedConversations, encode
from layersig.data.examples import Example, write_examples
from layersig.data.limits import limits_of
from layersig.data.nonsense import Nonsense
from layersig.data.overlap import normalised
from layersig.data.pairs import REJECTED
from layersig.data.rows import FieldUse, Rows, read_rows
from layersig.data.split import split_conversations
from layersig.errors import UserError, one_line
from layersig.stages.job import Job
from layersig.stages.kinds import Data


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a tokenised example: its text, and whether it is to be predicted."""

    text: str
    target: bool


@dataclass(frozen=True, slots=True)
class SplitReport:
    """One side of the split.

    Attributes:
        conversations: Examples written.
        groups: Groups among them.
        tokens: Tokens in all.
        target_tokens: Tokens to be predicted.
        longest: Tokens of the longest example.
        truncated: Conversations cut at `max_tokens`.
        without_target: Conversations left out because no target was within `max_tokens`.
        unlearnt: Those among them that have no target at any length, because of their marks and the template.
        last_turn_only: Conversations of which only the last of several answers is a target.
        system_merged: Conversations whose system message went into the first user turn.
        control_text: Conversations with the text of a special token, encoded as ordinary text.
        rewritten: Conversations of which the chat template changes or leaves out a part.
        rewritten_parts: Those conversations by part, such as `answers`; one may count under several.
    """

    conversations: int
    groups: int
    tokens: int
    target_tokens: int
    longest: int
    truncated: int
    without_target: int
    unlearnt: int
    last_turn_only: int
    system_merged: int
    control_text: int
    rewritten: int
    rewritten_parts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DataReport:
    """`report.json` of the data stage.

    Attributes:
        rows: Rows that were read.
        shape: Shape of the rows; several where they differ.
        fields: What became of every field of the rows.
        unwanted: Rows left out because a field marks them as not to be learnt, by field.
        elsewhere: Rows left out by `where`.
        unanswered: Trailing questions cut off (LIMA).
        duplicates: Conversations left out because an equal one is kept.
        beyond_limit: Conversations left out by `limit`.
        max_tokens: Longest example allowed.
        template: `model`, `plain` or `file`.
        template_sha256: Digest of the chat template.
        train: The training side.
        heldout: The held-out side.
        diversity: That of the prompts and of the responses to train on.
        example: The first training example, cut where targets begin and end.
    """

    rows: int
    shape: str
    fields: tuple[FieldUse, ...]
    unwanted: Mapping[str, int]
    elsewhere: int
    unanswered: int
    duplicates: int
    beyond_limit: int
    max_tokens: int
    template: str
    template_sha256: str
    train: SplitReport
    heldout: SplitReport
    diversity: Mapping[str, Diversity]
    example: tuple[Piece, ...]


def prepare(job: Job[Data]) -> None:
    """Run the stage; see `Data`.

    Streams: the root alone ("sample", "split", "half", "nonsense"), so that all seeds share the split.

    Raises:
        UserError: The rows, the template or the split cannot be used, a side of the split holds no target, or the
            template rewrites too many conversations.
    """
    spec = job.spec
    rows = read_rows(job.inputs["rows"], group_by=spec.group_by, fields=spec.fields, pairs=spec.pairs, where=spec.where)
    with _about(job.inputs["rows"]):
        split = split_conversations(
            rows.conversations,
            heldout=spec.heldout,
            limit=spec.limit,
            half=spec.half,
            train_limit=spec.train_limit,
            root=job.streams.root,
        )
    chat = ChatFormat(_tokenizer(job.inputs["model"]), spec.chat_template)
    if spec.text != "natural":
        split = split.with_text(Nonsense(spec.text, chat.tokenizer, job.streams.root).of)
    count = (1 + spec.pairs) * (len(split.train) + len(split.heldout))
    job.reporter.start("tokenise", count, "conversations")
    places = dict(zip((conversation.id for conversation in rows.conversations), rows.numbers, strict=True))
    with _about(job.inputs["rows"]):
        train, *other_train = _write(job, chat, "train", split.train, places)
        heldout, *other_heldout = _write(job, chat, "heldout", split.heldout, places)
        sides = (train, heldout, *other_train, *other_heldout)
        _check_rewriting(job, chat, sides, places)
    examples = [example for side in sides for example in side.examples]
    long = limits_of(job.inputs["model"]).check(examples, chat.tokenizer)
    (job.out / "train.txt").write_text(
        "".join(f"{normalised(conversation.text)}\n" for conversation in split.train), encoding="utf-8"
    )
    report = DataReport(
        rows=rows.total,
        shape=rows.shape,
        fields=rows.fields,
        unwanted=rows.unwanted,
        elsewhere=rows.elsewhere,
        unanswered=rows.unanswered,
        duplicates=split.duplicates,
        beyond_limit=split.beyond_limit,
        max_tokens=spec.max_tokens,
        template=chat.template.name,
        template_sha256=chat.template.sha256,
        train=_report(train),
        heldout=_report(heldout),
        diversity=_diversity(split.train),
        example=_pieces(chat.tokenizer, train.examples[0]),
    )
    rejected = {
        name: asdict(_report(side))
        for name, found in (("train", other_train), ("heldout", other_heldout))
        for side in found
    }
    job.write("report.json", asdict(report) | ({"rejected": rejected} if rejected else {}))
    job.cost["tokens"] = sum(len(example) for example in examples)
    _warn(job, rows, report, [_report(side) for side in sides], chat)
    if long:
        job.reporter.warn(f"{long} conversations are longer than the model was made for (max_position_embeddings).")


@contextmanager
def _about(path: Path) -> Iterator[None]:
    """Prefix errors about rows with the name of their file."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the parsers of tokenizers raise bare Exception
        raise UserError(f"{folder}: no tokenizer that can be loaded ({one_line(error)}); save it again") from error


def _write(
    job: Job[Data], chat: ChatFormat, name: str, conversations: Sequence[Conversation], places: Mapping[str, int]
) -> list[EncodedConversations]:
    """Write a side of the split; of pairs, first with the chosen responses and then with the rejected ones."""
    responses = [conversations, *([[each.other for each in conversations]] if job.spec.pairs else [])]
    try:
        encoded = [encode(chat, each, job.spec.max_tokens, job.reporter.advance) for each in responses]
    except CannotEncode as error:
        raise UserError(f"row {places[error.conversation]}: {error}") from error
    kept = frozenset.intersection(*(frozenset(example.id for example in side.examples) for side in encoded))
    unlearnt = frozenset[str]().union(*(side.unlearnt for side in encoded))
    if conversations and not kept:
        lacking = _lacking(job.spec.max_tokens, at_any_length=len(unlearnt) == len(conversations))
        raise UserError(f"none of the {len(conversations)} {name} conversations {lacking}")
    encoded = [side.only(kept, unlearnt) for side in encoded]
    for ending, side in zip(("", REJECTED), encoded, strict=False):
        examples = [replace(example, id=f"{example.id}{ending}") for example in side.examples]
        write_examples(job.out, f"{name}{ending}", examples)
    return encoded


def _lacking(max_tokens: int, *, at_any_length: bool) -> str:
    """What none of the conversations has, and what to do."""
    if not at_any_length:
        return f"has an answer within {max_tokens} tokens. Raise `max_tokens`."
    return (
        "has an answer that is learnt: marks such as weights of 0 and the chat template leave none. Correct the marks, "
        "or set model.chat_template to a template that keeps earlier answers."
    )


def _check_rewriting(
    job: Job[Data], chat: ChatFormat, sides: Sequence[EncodedConversations], places: Mapping[str, int]
) -> None:
    """Refuse a template that drops too much of the training text, and warn about one that drops a little."""
    rewritten = sum(side.rewritten for side in sides)
    if not rewritten:
        return
    kept = sum(len(side.examples) + side.without_target for side in sides)
    parts: Counter[str] = Counter()
    for side in sides:
        parts.update(side.rewritten_parts)
    first = next(side.first_rewritten for side in sides if side.first_rewritten is not None)
    listed = ", ".join(f"{part} ({count})" for part, count in sorted(parts.items()))
    told = (
        f"The chat template ({chat.template.name}) changes or leaves out parts of {rewritten} of {kept} conversations, "
        f"such as that of row {places[first]}: {listed}."
    )
    if rewritten > job.spec.max_rewritten * kept:
        raise UserError(
            f"{told} Set model.chat_template to a `file:` that renders them, write them into the "
            "contents of the rows in the way that the template keeps, or list their fields in `fields.ignore`; "
            f"data.max_rewritten sets the largest share that is accepted ({job.spec.max_rewritten:g})."
        )
    job.reporter.warn(told)


def _report(encoded: EncodedConversations) -> SplitReport:
    lengths = [len(example) for example in encoded.examples]
    return SplitReport(
        conversations=len(encoded.examples),
        groups=len({example.group for example in encoded.examples}),
        tokens=sum(lengths),
        target_tokens=sum(int(example.targets.sum()) for example in encoded.examples),
        longest=max(lengths, default=0),
        truncated=encoded.truncated,
        without_target=encoded.without_target,
        unlearnt=len(encoded.unlearnt),
        last_turn_only=encoded.last_turn_only,
        system_merged=encoded.system_merged,
        control_text=encoded.control_text,
        rewritten=encoded.rewritten,
        rewritten_parts=encoded.rewritten_parts,
    )


def _diversity(conversations: Sequence[Conversation]) -> dict[str, Diversity]:
    """Of what is asked and of what is answered, in order of the ids, which are hashes."""
    sides = {"prompts": ("user", "tool"), "responses": ("assistant",)}
    return {
        name: diversity(["\n".join(m.content for m in each.messages if m.role in roles) for each in conversations])
        for name, roles in sides.items()
    }


def _pieces(tokenizer: Any, example: Example) -> tuple[Piece, ...]:
    borders = np.flatnonzero(np.diff(example.targets)) + 1
    return tuple(
        Piece(tokenizer.decode(tokens), bool(targets[0]))
        for tokens, targets in zip(np.split(example.tokens, borders), np.split(example.targets, borders), strict=True)
    )


def _warn(job: Job[Data], rows: Rows, report: DataReport, sides: Sequence[SplitReport], chat: ChatFormat) -> None:
    for note in rows.notes():
        job.reporter.warn(note)
    kept = sum(side.conversations + side.without_target for side in sides)
    notes = {
        f"were cut at {report.max_tokens} tokens": sum(side.truncated for side in sides),
        f"have no answer within {report.max_tokens} tokens and were left out": sum(
            side.without_target - side.unlearnt for side in sides
        ),
        "have no answer that is learnt, by their marks and the chat template, and were left out": sum(
            side.unlearnt for side in sides
        ),
        "are trained on their last answer only, because the chat template rewrites earlier turns": sum(
            side.last_turn_only for side in sides
        ),
    }
    for what, count in notes.items():
        if count:
            job.reporter.warn(f"{count} of {kept} conversations {what}.")
    if report.template == "plain" and job.spec.chat_template == "auto":
        job.reporter.warn("The model has no chat template; the built-in `plain` one is used.")
    if chat.turn_end is None:
        job.reporter.warn("The chat template writes no token that ends a turn; a model will not learn to stop.")
