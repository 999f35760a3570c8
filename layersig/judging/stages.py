"""The stages that ask the judge: grades of one arm's answers, and comparisons of two arms."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean
from typing import Any

from layersig.endpoint.client import Endpoint, Names, read_key, unencrypted
from layersig.jsonform import jsonl
from layersig.judging.asking import VerdictRequest, VerdictStore, judgements
from layersig.judging.prompts import COMPARE_AGAIN, GRADE_AGAIN, compare_prompt, grade_prompt
from layersig.judging.records import SCORE, AnswerRecord, Judgement, Key, Order, read_answers
from layersig.judging.verdicts import read_rating, read_winner
from layersig.records import Outcome
from layersig.stages.job import Job
from layersig.stages.measurements import Compare, Grade, Judging
from layersig.store.hashing import sha256_json

_NAMES = Names("the judge", "verdicts", address="judge.endpoint", table="judge")
_JUDGE = ("endpoint", "model", "temperature", "max_tokens", "repeats", "attempts")


def grade(job: Job[Grade]) -> None:
    """Let the judge grade every answer of an arm; see `Grade`.

    Raises:
        UserError: The key is missing or refused, or the endpoint knows no such model.
        MachineError: The endpoint cannot be reached; another run asks only what is missing.
    """
    answers = list(read_answers(job.inputs["answers"] / "answers.jsonl"))
    wanted = [
        VerdictRequest(key, each.category, grade_prompt(each.shown(key.turn)), read_rating, GRADE_AGAIN)
        for each in answers
        for key in _keys(each, job.spec.repeats, ("alone",))
    ]
    found = _judged(job, wanted, answers)
    outcomes = [outcome.to_json() for each in answers for outcome in _outcomes(each, found)]
    (job.out / "items.jsonl").write_text(jsonl(outcomes), encoding="utf-8")


def compare(job: Job[Compare]) -> None:
    """Let the judge compare every answer of an arm with that of another, in both orders; see `Compare`.

    Raises:
        UserError: As `grade` has it.
        MachineError: As `grade` has it.
    """
    answers, others = (list(read_answers(job.inputs[role] / "answers.jsonl")) for role in ("answers", "reference"))
    wanted = []
    for ours, theirs in zip(answers, others, strict=True):
        assert (ours.set, ours.question, ours.turns) == (theirs.set, theirs.question, theirs.turns)
        for key in _keys(ours, job.spec.repeats, ("arm-first", "arm-second")):
            pair = (ours, theirs) if key.order == "arm-first" else (theirs, ours)
            first, second = (each.shown(key.turn) for each in pair)
            wanted.append(VerdictRequest(key, ours.category, compare_prompt(first, second), read_winner, COMPARE_AGAIN))
    _judged(job, wanted, answers)


def _keys(answered: AnswerRecord, repeats: int, orders: Sequence[Order]) -> Iterator[Key]:
    for turn in range(1, len(answered.turns) + 1):
        for repeat in range(repeats):
            for order in orders:
                yield Key(answered.set, answered.question, turn, repeat, order)


def _judged(job: Job[Judging], wanted: Sequence[VerdictRequest], answers: Sequence[AnswerRecord]) -> list[Judgement]:
    found = judgements(
        wanted,
        _endpoint(job),
        VerdictStore(job.work / "judgements.jsonl"),
        attempts=job.spec.attempts,
        concurrency=job.spec.concurrency,
        reporter=job.reporter,
    )
    (job.out / "judgements.jsonl").write_text(jsonl([each.to_json() for each in found]), encoding="utf-8")
    invalid = sum(each.verdict is None for each in found)
    refused = sum(each.refused is not None for each in found)
    finish = Counter(end for each in found for end in each.finish)
    cut = {end: count for end, count in sorted(finish.items()) if end != "stop"}
    dates = sorted(each.created for each in found if each.created is not None)
    results = {
        "judge": {name: getattr(job.spec, name) for name in _JUDGE},
        "models": sorted({each.model for each in found if each.model is not None}),
        "first": dates[0] if dates else None,
        "last": dates[-1] if dates else None,
        "verdicts": len(found),
        "asked_again": sum(len(each.replies) > 1 for each in found),
        "finish": dict(sorted(finish.items())),
        "invalid": invalid,
        "refused": refused,
        "questions": {name: _digest(answers, name) for name in dict.fromkeys(each.set for each in answers)},
    }
    job.write("results.json", results)
    if cut:
        kinds = ", ".join(f"{end} {count}" for end, count in cut.items())
        job.reporter.warn(
            f"{sum(cut.values())} of {finish.total()} replies of the judge did not end by themselves ({kinds}) and "
            f"were not read; `length`: judge.max_tokens ({job.spec.max_tokens}) is too small; `unknown`: the "
            "endpoint does not say how a reply ended"
        )
    if invalid:
        why = f" ({refused} of them because the endpoint refused the prompt)" if refused else ""
        job.reporter.warn(f"{invalid} of {len(found)} verdicts are invalid{why}; the report counts them")
    job.cost["tokens"] = float(sum(each.tokens for each in found))
    job.cost["calls"] = float(len(found))
    return found


def _digest(answers: Sequence[AnswerRecord], name: str) -> str:
    return sha256_json([[each.question, each.turns, each.reference] for each in answers if each.set == name])


def _endpoint(job: Job[Judging]) -> Endpoint:
    spec = job.spec
    key = read_key(spec.key_env, _NAMES)
    if warning := unencrypted(spec.endpoint, key, spec.key_env):
        job.reporter.warn(warning)
    settings: dict[str, Any] = {"model": spec.model, spec.length_key: spec.max_tokens}
    if spec.temperature != "default":
        settings["temperature"] = spec.temperature
    return Endpoint(_NAMES, spec.endpoint, settings, key, spec.key_env, spec.timeout, threading.Event())


def _outcomes(answered: AnswerRecord, found: Iterable[Judgement]) -> Iterator[Outcome]:
    ratings: dict[int, list[float]] = {}
    for each in found:
        if (each.key.set, each.key.question) == (answered.set, answered.question) and isinstance(each.verdict, float):
            ratings.setdefault(each.key.turn, []).append(each.verdict)
    cluster = answered.question if len(answered.turns) > 1 else None
    for turn, values in sorted(ratings.items()):
        yield Outcome(answered.set, answered.item(turn), SCORE, fmean(values), cluster=cluster)
