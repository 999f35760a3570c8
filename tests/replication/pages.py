"""The pages of `docs/results/`, made of extracts alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from layersig.report.numbers import count, seconds
from tests.replication.answers import Answer, Holds, Question
from tests.replication.extracts import Extract
from tests.replication.figures import draw
from tests.replication.parts import PARTS
from tests.replication.questions import QUESTIONS
from tests.replication.questions.estimators import leaderboard

RESULTS = Path(__file__).parents[2] / "docs" / "results"
NOTES = Path(__file__).with_name("notes.md")
_BY_NAME = {part.name: part for part in PARTS}


def answers(extracts: Mapping[str, Extract]) -> dict[str, Answer]:
    """The answer to every question, by the name of its page."""
    return {each.name: _answer(each, extracts) for each in QUESTIONS}


def pages(extracts: Mapping[str, Extract]) -> dict[str, str]:
    """Every page by file name.

    Args:
        extracts: What was run, by part.
    """
    found = answers(extracts)
    written = {f"{each.name}.md": _page(each, found[each.name], extracts) for each in QUESTIONS}
    return {
        "README.md": _overview(found),
        **written,
        "leaderboard.md": _leaderboard(extracts),
        "lab-book.md": _lab_book(extracts),
    }


def figures(extracts: Mapping[str, Extract]) -> dict[str, str]:
    """Every figure by file name, as SVG."""
    return {f"{name}.svg": draw(answer.charts, name) for name, answer in answers(extracts).items() if answer.charts}


def _answer(question: Question, extracts: Mapping[str, Extract]) -> Answer:
    missing = [part for part in question.parts if part not in extracts]
    if missing:
        return Answer(Holds.NOT_RUN, f"Missing: {', '.join(missing)}.")
    return question.answer(extracts)


def _page(question: Question, answer: Answer, extracts: Mapping[str, Extract]) -> str:
    run = [extracts[part] for part in question.parts if part in extracts]
    blocks = [
        f"# {question.title}",
        f"**Published.** {question.claim}",
        f"**Does it hold here? {answer.holds.value.capitalize()}.** {answer.evidence}",
        *([f"![{question.title}](figures/{question.name}.svg)"] if answer.charts else []),
        *(table.markdown() for table in answer.tables if table.rows),
        "## What was done",
        question.done,
        *(_done(extract) for extract in run),
        "## Scope",
        question.scope,
        "## What it would take to decide more",
        question.decide,
        *_bullets("## What the verdicts say in full", answer.sentences),
        *_bullets("## Rows of the rigor card that are not met", list(dict.fromkeys(_not_met(run)))),
        "## Repeat it",
        _commands(question),
    ]
    return "\n\n".join(blocks) + "\n"


def _done(extract: Extract) -> str:
    record = extract.record
    seeds, trained = len(record["seeds"]), record["trainings"]
    facts = [
        f"{record['model']}",
        f"data: {', '.join(record['data'])}",
        f"{seeds} seed{'s' * (seeds != 1)}",
        f"{count(trained)} trainings" if trained else "nothing was trained",
        f"{seconds(record['seconds'])} of work",
        f"run {record['id']}",
    ]
    return f"`{extract.part}`: {'; '.join(facts)}."


def _not_met(run: Sequence[Extract]) -> Iterator[str]:
    for extract in run:
        for row in extract.rows("rigor"):
            yield f"{row['item']} (`{extract.part}`): {row['evidence']}"


def _bullets(title: str, lines: Sequence[str]) -> list[str]:
    return [title, "\n".join(f"- {line}" for line in lines)] if lines else []


def _commands(question: Question) -> str:
    lines = [f"$ {_BY_NAME[part].command()}" for part in question.parts]
    every = f"$ make study PARTS='{' '.join(question.parts)}'    # all of them, with DATA=FOLDER for local files"
    return "\n".join(["```console", *lines, every, "```"])


def _overview(found: Mapping[str, Answer]) -> str:
    rows = [
        f"| [{each.title}]({each.name}.md) | {each.claim} | **{found[each.name].holds.value}** | {found[each.name].evidence} |"
        for each in QUESTIONS
    ]
    decided = sum(answer.holds is not Holds.NOT_RUN for answer in found.values())
    return "\n\n".join(
        [
            "# Published claims, tried at 135 M parameters",
            "Claims about which layers matter, each with noise ceilings, controls, intervals and contrasts that were "
            "declared before anything was measured. The model is SmolLM2-135M-Instruct: small, and instruction-tuned "
            'already. A claim about models of billions of parameters is not refuted here; "no" says that it does not hold '
            "for every transformer.",
            f"{decided} of {len(QUESTIONS)} questions have been run. Every number is read from the `analysis.json` of a "
            "run when the page is built ([extracts](extracts)); a test fails when page and extract disagree.",
            "| question | published claim | holds here | evidence |\n| --- | --- | --- | --- |\n" + "\n".join(rows),
            "Also: the [leaderboard](leaderboard.md) of scorers, and the [lab book](lab-book.md).",
            "## Run it",
            "```console\n"
            "$ make study                              # everything; interrupt and continue as you like\n"
            "$ make study DATA=folder                  # local files in place of hub data sets\n"
            "$ make study PARTS='claim-6 fraction'     # some parts\n"
            "```",
            "A part is a recipe ([recipes](../recipes.md)), planned and then run by `layersig`; what it has computed is in "
            "the cache and is not computed again. `layersig plan` says how long each takes on your machine. Pages are "
            "built from what is there, so they can be built after any part. `DATA` is a folder with the files that "
            "`tests/replication/standins.toml` names.",
        ]
    ) + "\n"  # fmt: skip


def _leaderboard(extracts: Mapping[str, Extract]) -> str:
    about = (
        "Scorers of single layers by the share of the gain of all layers that their 30 % keep as a graft, with rank "
        "correlation with leave-one-update-out on unseen conversations, agreement of two seeds, the rule of place that "
        "gives most of the same layers, and cost without the reference training. Differences that were tested are on the "
        "page on [estimators](estimators.md); an order in this table is no test."
    )
    tables = leaderboard(extracts["estimators"]) if "estimators" in extracts else []
    shown = [table.markdown() for table in tables] or ["**Not run yet.** Missing: estimators."]
    return "\n\n".join(["# Leaderboard of scorers", about, *shown]) + "\n"


def _lab_book(extracts: Mapping[str, Extract]) -> str:
    lines = ["| part | recipe | started | work | status | declared before | processor |", "| --- " * 7 + "|"]
    remarks = []
    for part in PARTS:
        extract = extracts.get(part.name)
        if extract is None:
            lines.append(f"| `{part.name}` | `{part.recipe}` | not run yet | | | | |")
            continue
        record = extract.record
        machine = record["machine"] or {}
        planned = "plan on record" if record["planned"] else "\u2013"
        lines.append(
            f"| `{part.name}` | `{part.recipe}` | {str(record['started'])[:10]} | {seconds(record['seconds'])} | "
            f"{record['status']} | {planned} | {machine.get('cpu', '')} |"
        )
        remarks += [f"- `{part.name}`: {text}" for text in (*record["warnings"], *record["notes"])]
    return "\n\n".join(
        [
            "# Lab book",
            "What was run, when, and what went wrong on the way.",
            "\n".join(lines),
            *(["## What the runs warned of", "\n".join(dict.fromkeys(remarks))] if remarks else []),
            NOTES.read_text(encoding="utf-8").strip(),
        ]
    ) + "\n"  # fmt: skip
