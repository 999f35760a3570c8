"""The pages of `docs/results/`, made of extracts alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from layersig.report.numbers import plural, seconds
from tests.replication.answers import Answer, Holds, Question, Table
from tests.replication.extracts import Extract
from tests.replication.figures import draw
from tests.replication.parts import PARTS
from tests.replication.questions import QUESTIONS
from tests.replication.questions.estimators import leaderboard

RESULTS = Path(__file__).parents[2] / "docs" / "results"
PROSE = Path(__file__).with_name("prose")
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
    return {f"{name}.svg": draw(answer.charts, name) for name, answer in answers(extracts).items() if answer.has_figure}


def _answer(question: Question, extracts: Mapping[str, Extract]) -> Answer:
    missing = [part for part in question.parts if part not in extracts]
    if missing:
        return Answer(Holds.NOT_RUN, f"Missing: {', '.join(missing)}.")
    return question.answer(extracts)


def _page(question: Question, answer: Answer, extracts: Mapping[str, Extract]) -> str:
    run = [extracts[part] for part in (*question.parts, *question.repeats) if part in extracts]
    blocks = [
        f"# {question.title}",
        f"**Published.** {question.claim}",
        f"**Does it hold here? {answer.holds.value.capitalize()}.** {answer.evidence}",
        *([f"![{question.title}](figures/{question.name}.svg)"] if answer.has_figure else []),
        *(table.markdown() for table in answer.tables if table.rows),
        "## Design",
        question.done,
        *(_done(extract) for extract in run),
        "## Scope",
        question.scope,
        "## What it would take to decide more",
        question.decide,
        *_folded("What the verdicts say in full", answer.sentences),
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
        f"data {', '.join(f'{name} ({source})' for name, source in record['data'].items())}",
        plural(seeds, "seed"),
        f"{plural(trained, 'training run')}{_trials(extract)}" if trained else "nothing was trained",
        f"{seconds(record['seconds'])} of work",
        f"run {record['id']}",
    ]
    return f"`{extract.part}`: {'; '.join(facts)}."


def _trials(extract: Extract) -> str:
    """Of how many trials each training run is the best, where there was a search."""
    trials = extract.rows("trials")
    runs = {(row["arm"], row["data"], row["seed"]) for row in trials}
    return f", each the best of {plural(len(trials) // len(runs), 'trial')}" if runs else ""


def _not_met(run: Sequence[Extract]) -> Iterator[str]:
    for extract in run:
        for row in extract.rows("rigor"):
            yield f"{row['item']} (`{extract.part}`): {row['evidence']}"


def _bullets(title: str, lines: Sequence[str]) -> list[str]:
    return [title, "\n".join(f"- {line}" for line in lines)] if lines else []


def _folded(title: str, lines: Sequence[str]) -> list[str]:
    """Lines that repeat the tables in words: a click away."""
    summary = f"<details>\n<summary>{title}</summary>"
    return [summary, "\n".join(f"- {line}" for line in lines), "</details>"] if lines else []


def _commands(question: Question) -> str:
    parts = (*question.parts, *question.repeats)
    lines = [f"$ {_BY_NAME[part].command()}" for part in parts]
    every = f"$ make study PARTS='{' '.join(parts)}'    # all of them, with DATA=FOLDER for local files"
    return "\n".join(["```console", *lines, every, "```"])


def _overview(found: Mapping[str, Answer]) -> str:
    rows = [
        (f"[{each.title}]({each.name}.md)", each.claim, f"**{answer.holds.value}**", answer.summary)
        for each in QUESTIONS
        for answer in (found[each.name],)
    ]
    run = sum(answer.holds is not Holds.NOT_RUN for answer in found.values())
    caption = f"{run} of {len(QUESTIONS)} questions have been run."
    return _filled(
        "overview", Table(caption, ("question", "published claim", "holds here", "evidence"), rows).markdown()
    )


def _leaderboard(extracts: Mapping[str, Extract]) -> str:
    tables = leaderboard(extracts["estimators"]) if "estimators" in extracts else ()
    return _filled("leaderboard", *([table.markdown() for table in tables] or ["Not run yet. Missing: estimators."]))


def _lab_book(extracts: Mapping[str, Extract]) -> str:
    rows, remarks = [], []
    for part in PARTS:
        extract = extracts.get(part.name)
        if extract is None:
            rows.append((f"`{part.name}`", f"`{part.recipe}`", "not run yet", "", "", "", ""))
            continue
        record = extract.record
        rows.append(
            (
                f"`{part.name}`",
                f"`{part.recipe}`",
                record["started"][:10],
                seconds(record["seconds"]),
                record["status"],
                "yes" if record["planned"] else "\u2013",
                record["machine"]["cpu"],
            )
        )
        remarks += [f"`{part.name}`: {text}" for text in folded((*record["warnings"], *record["notes"]))]
    header = ("part", "recipe", "started", "work", "status", "differences planned before", "processor")
    work = sum(extract.record["seconds"] for extract in extracts.values())
    total = f"In all {seconds(work)} of work; what parts share is computed once and counted in each."
    return _filled(
        "lab-book",
        Table("", header, rows).markdown().strip(),
        total,
        *_bullets("## What the runs warned of", remarks),
    )


def folded(texts: Iterable[str]) -> Iterator[str]:
    """Texts that differ in numbers alone once, with how many more there are."""
    alike: dict[str, list[str]] = {}
    for text in texts:
        alike.setdefault(re.sub(r"\d+(\.\d+)?", "0", text), []).append(text)
    for first, *others in alike.values():
        yield f"{first} ({len(others)} more of the kind)" if others else first


def _filled(prose: str, *blocks: str) -> str:
    """A page of prose with blocks in the place that it leaves for them."""
    return (PROSE / f"{prose}.md").read_text(encoding="utf-8").replace("<!-- table -->", "\n\n".join(blocks))
