"""The stage in which an arm answers questions, each turn after its own answers to the turns before."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from layersig.data.chat import ChatFormat
from layersig.data.conversation import Message
from layersig.data.questions import Question, read_questions, sample
from layersig.generating.arm_model import arm_model
from layersig.generating.chats import Chat, Response, responses
from layersig.generating.kept import ResponseLog
from layersig.generating.sampling import Sampling
from layersig.jsonform import jsonl
from layersig.judging.records import AnswerRecord
from layersig.models.load import load_tokenizer
from layersig.stages.job import Job
from layersig.stages.measurements import Answer

_LOG = "responses.jsonl"

Asked = tuple[str, Question]
"""The name of a set, and a question of it."""


def answer(job: Job[Answer]) -> None:
    """Write `answers.jsonl`; see `Answer`.

    Every batch is appended to a log that survives an interruption; what is in it is not answered again.

    Drawn answers depend on the seed of the cell, the question and the turn, never on the arm, so that arms are paired.

    Raises:
        UserError: A set of questions or the chat template cannot be used.
    """
    asked = _asked(job)
    chat_format = ChatFormat(load_tokenizer(job.inputs["model"]), job.spec.chat_template)
    settings = job.spec.answers
    sampling = Sampling(settings.temperature, settings.top_p)
    given: list[dict[int, Response]] = [{} for _ in asked]
    log = ResponseLog(job.work / _LOG)
    started = time.perf_counter()

    def done(count: int, run: int) -> None:
        log.ran(run)
        job.reporter.advance(count, tokens=run)

    with arm_model(job) as arm:
        for turn in range(max(len(question.turns) for _, question in asked)):
            now = [number for number, (_, question) in enumerate(asked) if turn < len(question.turns)]
            job.reporter.start(f"turn {turn + 1}", len(now), "answers")
            chats = [_chat(asked[number], given[number], turn) for number in now]
            job.reporter.advance(sum((chat.id, 0) in log.held for chat in chats))
            log.take(
                responses(
                    arm.model,
                    chat_format,
                    chats,
                    job.streams,
                    max_new_tokens=settings.max_new_tokens,
                    sampling=sampling,
                    samples=1,
                    batch_tokens=job.spec.batch_tokens,
                    known=frozenset(log.held),
                    state=log.state,
                    fast=arm.fast,
                    done=done,
                )
            )
            for number, chat in zip(now, chats, strict=True):
                given[number][turn] = log.held[chat.id, 0]
    rows = [_answered(each, own) for each, own in zip(asked, given, strict=True)]
    (job.out / "answers.jsonl").write_text(jsonl([row.to_json() for row in rows]), encoding="utf-8")
    seconds = time.perf_counter() - started
    job.cost.update(tokens=float(log.tokens), answer_seconds=seconds, peak_memory=float(arm.memory.peak))
    _warn(job, rows)


def _asked(job: Job[Answer]) -> list[Asked]:
    found: list[Asked] = []
    for number, entry in enumerate(job.spec.conversations):
        every = read_questions(job.inputs[f"questions/{number}"])
        kept = sample(every, entry.name, entry.limit, job.streams.root)
        found += [(entry.name, question) for question in kept]
    return found


def _chat(asked: Asked, given: Mapping[int, Response], turn: int) -> Chat:
    name, question = asked
    messages = [
        message
        for number in range(turn)
        for message in (Message("user", question.turns[number]), Message("assistant", given[number].text))
    ]
    return Chat(f"{name}/{question.id}/turn-{turn + 1}", (*messages, Message("user", question.turns[turn])))


def _answered(asked: Asked, given: Mapping[int, Response]) -> AnswerRecord:
    name, question = asked
    turns = [given[turn] for turn in range(len(question.turns))]
    return AnswerRecord(
        name,
        question.id,
        question.category,
        question.turns,
        tuple(each.text for each in turns),
        tuple(each.finish for each in turns),
        tuple(each.tokens for each in turns),
        question.reference,
    )


def _warn(job: Job[Answer], rows: Sequence[AnswerRecord]) -> None:
    ends: list[Any] = [end for row in rows for end in row.finish]
    cut = sum(end != "stop" for end in ends)
    if cut:
        most = job.spec.answers.max_new_tokens
        job.reporter.warn(f"{cut} of {len(ends)} answers did not end by themselves within {most} tokens and were cut")
    empty = sum(not text for row in rows for text in row.answers)
    if empty:
        job.reporter.warn(f"{empty} of {len(ends)} answers are empty")
