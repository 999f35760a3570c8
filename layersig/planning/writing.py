"""Passes of what models write (answers to questions, responses to train on), and calls of the judge."""

from __future__ import annotations

from layersig.pipeline import Stage
from layersig.planning.facts import Facts
from layersig.planning.passes import Passes, uncounted

_WORDS_A_TOKEN = 0.75
"""Words of a token in English text: tells the length of a prompt without its tokenizer."""


def answered(facts: Facts, stage: Stage) -> Passes:
    """Passes of the answers to questions; every turn reads the conversation before it once more."""
    turns = _turns(facts, stage)
    if turns is None:
        return uncounted("the questions of evaluate.conversations")
    most = stage.params["answers"]["max_new_tokens"]
    read = written = 0.0
    for question in turns:
        before = 0.0
        for turn in question:
            read += before + turn
            written += most
            before += turn + most
    return Passes(read + written, by_kind={"read": read, "write": written}, at_most=True)


def generated(facts: Facts, stage: Stage) -> Passes:
    """Passes of the untouched model's own responses; how long the prompts are is known once they are answered."""
    settings = stage.params["generate"]
    data = stage.cell.data or ""
    limit, rows = stage.params["limit"], facts.assumed.rows.get(data)
    known = [count for count in (limit, rows) if count is not None]
    if not known:
        return uncounted(f"the prompts of {data}")
    written = float(min(known) * settings["samples"] * settings["max_new_tokens"])
    return Passes(written, by_kind={"write": written}, at_most=True)


def judge_calls(facts: Facts, stage: Stage) -> int | None:
    """Verdicts that a stage asks the judge for, repeats and orders included; None where the questions are not here.

    A verdict that cannot be read is asked for again, up to `judge.attempts` times.
    """
    if stage.kind not in ("grade", "compare"):
        return 0
    counted = _count_turns(facts)
    orders = 2 if stage.kind == "compare" else 1
    return None if counted is None else counted * orders * stage.params["repeats"]


def _count_turns(facts: Facts) -> int | None:
    found = [turns_of(facts, number) for number in range(len(facts.recipe.evaluate.conversations))]
    return None if any(each is None for each in found) else sum(len(turns) for each in found for turns in each or ())


def _turns(facts: Facts, stage: Stage) -> list[list[float]] | None:
    found: list[list[float]] = []
    for number in range(len(stage.params["conversations"])):
        questions = turns_of(facts, number)
        if questions is None:
            return None
        found += [[len(turn.split()) / _WORDS_A_TOKEN for turn in turns] for turns in questions]
    return found


def turns_of(facts: Facts, number: int) -> list[tuple[str, ...]] | None:
    """The turns of the questions of a set that will be asked."""
    source = facts.known.sources.get(f"source/questions/{number}")
    if source is None:
        return None
    from layersig.data.questions import read_questions, sample

    asked = facts.recipe.evaluate.conversations[number]
    kept = sample(read_questions(source.path), asked.label, asked.limit, facts.recipe.root_seed)
    return [question.turns for question in kept]
