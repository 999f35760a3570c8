"""The generation stage: the untouched model answers the prompts of a data set, and what is kept becomes its rows.

The method is that of self-generated responses in "On the Limits of Layer Pruning for Generative Reasoning in Large
Language Models" (arXiv 2602.01997). Deviations: prompts are first user turns (the paper's script takes the last), they
are distinct, and streams belong to a prompt and a sample instead of to a whole run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Any

from layersig.data.chat import ChatFormat
from layersig.data.conversation import Conversation, Message, content_id
from layersig.data.rows import Rows, read_rows
from layersig.errors import UserError
from layersig.generating.arm_model import arm_model
from layersig.generating.chats import Chat, Key, Response, responses
from layersig.generating.kept import ResponseLog
from layersig.generating.sampling import Sampling
from layersig.generating.served import served, server_of
from layersig.jsonform import dumps, jsonl, read_json
from layersig.models.load import load_tokenizer
from layersig.probes.degeneration import repetition, words
from layersig.recipe.schema import FilterSettings, GenerateSettings
from layersig.stages.job import Job
from layersig.stages.kinds import Generate
from layersig.store.files import write_atomic
from layersig.streams import Streams

_LOG = "responses.jsonl"


@dataclass(frozen=True, slots=True)
class GenerationReport:
    """`report.json` of the generation stage.

    Attributes:
        rows: Rows of the data set.
        prompts: Distinct first prompts answered.
        repeated_prompts: Rows whose first prompt an earlier one has.
        beyond_limit: Distinct prompts left out by `limit`.
        responses: Responses asked for.
        kept: Responses that became rows.
        dropped: Responses that did not, by reason.
        finish: Responses by how they ended, see `Response`.
        tokens: Tokens written.
        longest: Tokens of the longest response.
        template: Name of the chat template.
        template_sha256: Digest of the chat template.
        settings: How was generated, in full.
    """

    rows: int
    prompts: int
    repeated_prompts: int
    beyond_limit: int
    responses: int
    kept: int
    dropped: Mapping[str, int]
    finish: Mapping[str, int]
    tokens: int
    longest: int
    template: str
    template_sha256: str
    settings: Mapping[str, Any]


def generate(job: Job[Generate]) -> None:
    """Run the stage; see `Generate`.

    Streams: the root alone: `sample` by row for the limit, as in the data stage; `response` by prompt and sample.

    Every batch is appended to a log that survives an interruption; what is complete there is not generated again.

    Raises:
        UserError: The rows or the template cannot be used, or no response is kept.
    """
    spec = job.spec
    settings = spec.generate
    root = Streams(job.streams.root)
    given = {} if spec.limit is None else _given(job)
    read = read_rows(job.inputs["rows"], group_by=spec.group_by, fields=spec.fields, prompts=True, where=spec.where)
    for note in read.notes():
        job.reporter.warn(note)
    rows = read.conversations
    distinct = _prompts(rows, settings.system)
    sample = _prompts(_sampled(read, given, spec.limit, root), settings.system)
    prompts = {prompt: distinct[prompt] for prompt in sorted(sample)}
    chat = ChatFormat(load_tokenizer(job.inputs["model"]), spec.chat_template)
    asked = [Chat(prompt, conversation.messages, conversation.tools) for prompt, conversation in prompts.items()]
    found = _answers(job, settings, chat, asked, root)
    ordered = [found[prompt, sample] for prompt in prompts for sample in range(settings.samples)]
    lines = [_Line.of(response, prompts[response.chat], settings.filters) for response in ordered]
    (job.out / "responses.jsonl").write_text(jsonl([line.record() for line in lines]), encoding="utf-8")
    kept = [line.row() for line in lines if line.dropped is None]
    (job.out / "rows.jsonl").write_text(jsonl(kept), encoding="utf-8")
    dropped = Counter(line.dropped for line in lines if line.dropped is not None)
    if not kept:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items()))
        raise UserError(f"data.generate: of {len(lines)} responses none is left to train on ({reasons})")
    report = GenerationReport(
        rows=len(rows),
        prompts=len(prompts),
        repeated_prompts=len(rows) - len(distinct),
        beyond_limit=len(distinct) - len(prompts),
        responses=len(lines),
        kept=len(kept),
        dropped=dict(sorted(dropped.items())),
        finish=dict(sorted(Counter(response.finish for response in ordered).items())),
        tokens=sum(response.tokens for response in ordered),
        longest=max(response.tokens for response in ordered),
        template=chat.template.name,
        template_sha256=chat.template.sha256,
        settings=settings.model_dump(mode="json", exclude={"endpoint"}),
    )
    by = {} if spec.server is None else {"server": {**spec.server, "models": _Writers(job).models}}
    job.write("report.json", asdict(report) | by)
    if cut := sum(response.finish in ("length", "context") for response in ordered):
        job.reporter.warn(f"{cut} of {len(lines)} responses did not end by themselves.")


def _given(job: Job[Generate]) -> Mapping[int, str]:
    """By number of the row, the id of the conversation with the given response; none where rows lack answers."""
    spec = job.spec
    try:
        read = read_rows(job.inputs["rows"], group_by=spec.group_by, fields=spec.fields, where=spec.where)
    except UserError:
        return {}
    return dict(zip(read.numbers, (row.id for row in read.conversations), strict=True))


def _sampled(read: Rows, given: Mapping[int, str], limit: int | None, root: Streams) -> list[Conversation]:
    """So many of the rows: those that the same limit takes of the given conversations (`split_conversations`).

    Rows that are none of these come last, such as those whose response is marked as not to be learnt.
    """
    rows = {given.get(number, row.id): row for number, row in zip(read.numbers, read.conversations, strict=True)}
    there = frozenset(given.values())
    order = sorted(rows, key=lambda identity: (identity not in there, root.number("sample", identity)))
    return [rows[identity] for identity in order[:limit]]


def _prompts(rows: Sequence[Conversation], system: str | None) -> dict[str, Conversation]:
    """By id, the distinct chats up to the first user turn, each with the group of the first row that has it."""
    found: dict[str, Conversation] = {}
    for row in rows:
        end = next(place for place, message in enumerate(row.messages) if message.role == "user")
        opening = row.messages[: end + 1]
        if system is not None:
            opening = (Message("system", system), opening[-1])
        identity = content_id(opening, row.tools)
        found.setdefault(identity, Conversation(identity, row.group, opening, row.tools))
    return found


def _answers(
    job: Job[Generate], settings: GenerateSettings, chat: ChatFormat, asked: Sequence[Chat], root: Streams
) -> dict[Key, Response]:
    log = ResponseLog(job.work / _LOG)
    job.reporter.start("generate", len(asked) * settings.samples, "responses")
    job.reporter.advance(len(log.held))

    def done(finished: int, run: int) -> None:
        log.ran(run)
        job.reporter.advance(finished, tokens=run)

    if job.spec.server is not None and job.spec.asking is not None:
        log.take(
            served(
                server_of(job),
                asked,
                root,
                samples=settings.samples,
                concurrency=job.spec.asking["concurrency"],
                known=frozenset(log.held),
                wrote=_Writers(job).add,
                done=done,
            )
        )
        job.cost["tokens"] = float(log.tokens)
        return log.held
    with arm_model(job) as untouched:
        log.take(
            responses(
                untouched.model,
                chat,
                asked,
                root,
                max_new_tokens=settings.max_new_tokens,
                sampling=Sampling(settings.temperature, settings.top_p, settings.top_k),
                samples=settings.samples,
                batch_tokens=settings.batch_tokens,
                known=frozenset(log.held),
                state=log.state,
                fast=untouched.fast,
                done=done,
            )
        )
    job.cost.update(tokens=float(log.tokens), peak_memory=float(untouched.memory.peak))
    return log.held


class _Writers:
    """The models that a server says have written, in a file that survives an interruption."""

    def __init__(self, job: Job[Generate]) -> None:
        self._path = job.work / "models.json"
        self._lock = Lock()
        self.models: list[str] = read_json(self._path, list[str]) if self._path.exists() else []

    def add(self, model: str) -> None:
        """Keep the name of one; from any thread."""
        with self._lock:
            if model not in self.models:
                self.models = sorted([*self.models, model])
                write_atomic(self._path, dumps(self.models))


@dataclass(frozen=True, slots=True)
class _Line:
    """A response, the conversation that it ends, and why it is not trained on (None: it is)."""

    response: Response
    conversation: Conversation
    dropped: str | None

    @classmethod
    def of(cls, response: Response, prompt: Conversation, filters: FilterSettings) -> _Line:
        messages = (*prompt.messages, Message("assistant", response.text))
        conversation = Conversation(content_id(messages, prompt.tools), prompt.group, messages, prompt.tools)
        return cls(response, conversation, dropped(response, filters))

    def record(self) -> dict[str, Any]:
        response = self.response
        return {
            "prompt": response.chat,
            "sample": response.sample,
            "seed": response.seed,
            "finish": response.finish,
            "tokens": response.tokens,
            "dropped": self.dropped,
            "example": self.conversation.id if self.dropped is None else None,
            "text": response.text,
        }

    def row(self) -> dict[str, Any]:
        return {
            **self.conversation.row(),
            "group": self.conversation.group,
            "prompt": self.response.chat,
            "sample": self.response.sample,
        }


def dropped(response: Response, filters: FilterSettings) -> str | None:
    """Why a response is not trained on: the first filter that it meets; None when it is."""
    found = words(response.text)
    repeated = repetition(found, 4) or 0.0
    reasons = {
        "no room": response.finish == "no-room",
        "empty": not response.text,
        "truncated": filters.truncated and response.finish in ("length", "context"),
        "too short": len(found) < filters.min_words,
        "repetitive": filters.max_repetition is not None and repeated > filters.max_repetition,
    }
    return next((reason for reason, met in reasons.items() if met), None)
