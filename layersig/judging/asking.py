"""Asks the judge many questions, a few at a time; stores every verdict at once and never asks for one twice."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from layersig.endpoint.client import Endpoint, Refused
from layersig.endpoint.replies import Reply
from layersig.errors import UserError
from layersig.jsonform import dumps, parse_json
from layersig.judging.prompts import CUT_AGAIN, Prompt
from layersig.judging.records import Judgement, JudgementForm, Key
from layersig.judging.verdicts import spoken
from layersig.stages.job import Reporter
from layersig.store.files import write_atomic

Read = Callable[[str], float | str | None]


@dataclass(frozen=True, slots=True)
class VerdictRequest:
    """One verdict to request.

    Attributes:
        key: Identifies the verdict.
        category: Category of the question.
        prompt: The prompt for the judge.
        read: Parses the verdict from a complete reply; None if there is none.
        again: Appended to the prompt after a reply without a verdict.
    """

    key: Key
    category: str
    prompt: Prompt
    read: Read
    again: str


class VerdictStore:
    """Verdicts in a file of lines that only grows; a line that is damaged, or cut off by a crash, does not count.

    Args:
        path: The file; made with the first verdict.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self.held: dict[Key, Judgement] = {}
        lines = path.read_bytes().split(b"\n") if path.exists() else []
        kept = []
        for line in lines[:-1]:
            with contextlib.suppress(ValueError):  # a damaged verdict is asked for again
                found = Judgement.from_json(parse_json(line, JudgementForm))
                self.held[found.key] = found
                kept.append(line)
        if b"\n".join([*kept, b""]) != b"\n".join(lines):
            write_atomic(path, b"".join(line + b"\n" for line in kept))

    def add(self, judgement: Judgement) -> None:
        """Keep a verdict; from any thread."""
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(dumps(judgement.to_json()) + "\n")
            self.held[judgement.key] = judgement


def judgements(
    wanted: Sequence[VerdictRequest],
    endpoint: Endpoint,
    store: VerdictStore,
    *,
    attempts: int,
    concurrency: int,
    reporter: Reporter,
) -> list[Judgement]:
    """Every verdict, in the order wanted, whatever order they come in.

    A verdict is stored as soon as it is there; also an invalid one, after `attempts` replies that hold none or did not
    end by themselves. A prompt
    that the endpoint refuses gives an invalid one too, which is not stored, so that another run asks for it again.

    Args:
        wanted: What is to be had.
        endpoint: Whom to ask.
        store: What is there already; it grows.
        attempts: Replies to ask for until one holds a verdict.
        concurrency: Questions put at once.
        reporter: Told of progress.

    Raises:
        UserError: The endpoint refuses key, model or every prompt.
        MachineError: It cannot be reached any more. What came before is stored.
    """
    found = dict(store.held)
    missing = [each for each in wanted if each.key not in found]
    reporter.start("verdicts", len(missing), "verdicts")
    with ThreadPoolExecutor(concurrency, thread_name_prefix="judge") as pool:
        futures = [pool.submit(_kept, each, endpoint, attempts, store) for each in missing]
        try:
            for future in as_completed(futures):
                judgement = future.result()
                found[judgement.key] = judgement
                reporter.advance(1)
        finally:
            # After a failure, or Ctrl-C: ask nothing more, but wait for what is under way; it has been paid for.
            endpoint.halt.set()
            pool.shutdown(cancel_futures=True)
    refused = [each for each in found.values() if each.refused is not None]
    if refused and len(refused) == len(wanted):
        raise UserError(f"the judge at {endpoint.base} refuses every prompt ({refused[0].refused}); correct [judge]")
    return [found[each.key] for each in wanted]


def _kept(wanted: VerdictRequest, endpoint: Endpoint, attempts: int, store: VerdictStore) -> Judgement:
    """Asks and stores in one thread that no Ctrl-C reaches: no reply that came is lost between the two."""
    judgement = _ask(wanted, endpoint, attempts)
    if judgement.refused is None:
        store.add(judgement)
    return judgement


def _ask(wanted: VerdictRequest, endpoint: Endpoint, attempts: int) -> Judgement:
    replies: list[Reply] = []
    verdict: float | str | None = None
    prompt = wanted.prompt
    try:
        while verdict is None and len(replies) < attempts:
            reply = endpoint.ask(prompt)
            replies.append(reply)
            if reply.finish == "stop":
                verdict = wanted.read(reply.text)
            prompt = _reminded(wanted, reply)
    except Refused as refusal:
        return Judgement(
            wanted.key, wanted.category, None, wanted.prompt, _texts(replies), _ends(replies), refused=str(refusal)
        )
    return Judgement(
        wanted.key,
        wanted.category,
        verdict,
        wanted.prompt,
        _texts(replies),
        _ends(replies),
        model=replies[-1].model,
        created=replies[-1].created,
        tokens=sum(reply.tokens for reply in replies),
    )


def _reminded(wanted: VerdictRequest, reply: Reply) -> Prompt:
    """What to ask after a reply without a verdict: at temperature 0 the same words would get the same answer."""
    again = wanted.again if reply.finish == "stop" else f"{CUT_AGAIN} {wanted.again}"
    if said := spoken(reply.text):
        return [*wanted.prompt, {"role": "assistant", "content": said}, {"role": "user", "content": again}]
    *before, last = wanted.prompt
    return [*before, {**last, "content": f"{last['content']}\n\n{again}"}]


def _ends(replies: Sequence[Reply]) -> tuple[str, ...]:
    return tuple(reply.finish for reply in replies)


def _texts(replies: Sequence[Reply]) -> tuple[str, ...]:
    return tuple(reply.text for reply in replies)
