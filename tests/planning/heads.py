"""The sentence on cost in the head of a shipped recipe: `python -m tests.planning.heads` writes it into all of them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

from layersig.engine.pace import duration
from layersig.pipeline import stages
from layersig.planning.assumptions import Assumptions
from layersig.planning.costs import Cost, cost_of
from layersig.planning.facts import Facts
from layersig.planning.known import Known
from layersig.recipe.load import load_all

RECIPES = sorted((Path(__file__).parents[2] / "recipes").rglob("*.toml"))
_ROWS = re.compile(
    r'^source = "(?:hub|file):[^"]*".*?#.*?\b(\d[\d,]*) (?:conversations|instructions|problems|rows|prompts)'
)
_PUBLISHED = 6.7
"""Seconds of a step of Llama-2-7B in arXiv 2410.17875."""
_RATE = re.compile(r"(\d+(?:\.\d+)?) s a step")
_LINE = re.compile(r"^# Plan: .*\n(?:#   .*\n)*", re.MULTILINE)


def head(text: str) -> str:
    """The comment before the first key."""
    return text.split("\n\nname = ", 1)[0]


def stated(text: str) -> str | None:
    """The sentence in a head, on one line; None where there is none."""
    found = _LINE.search(head(text) + "\n")
    return None if found is None else " ".join(line.lstrip("# ").strip() for line in found[0].splitlines())


def facts_of(path: Path) -> Facts:
    """A recipe without a machine: rows as its comments state them, the rate that its head names."""
    loaded = load_all(path)[0]
    text = path.read_text(encoding="utf-8")
    known = Known(loaded, stages(loaded.recipe, loaded.components), {}, {}, {}, frozenset())
    rate = _RATE.search(stated(text) or head(text))
    return Facts(known, Assumptions(rows=_rows(text), step_seconds=None if rate is None else float(rate[1])))


def sentence(path: Path) -> str:
    """What the plan says of a recipe's trainings."""
    facts = facts_of(path)
    costs = [cost_of(facts, stage, None) for stage in facts.known.graph.stages]
    trained = [cost for cost in costs if cost.trainings]
    if not trained:
        return "Plan: nothing is trained."
    seeds, count = len(facts.recipe.seeds), sum(cost.trainings for cost in trained)
    assert count % seeds == 0
    said = f"Plan: {count} training{'s' * (count > 1)}" + (f" ({count // seeds} a seed)" if seeds > 1 else "")
    if all(cost.passes.steps for cost in trained):
        said += f", {sum(cost.passes.steps for cost in trained):,} steps"
        if facts.assumed.step_seconds is not None:
            said += _times(trained, facts.assumed.step_seconds, seeds)
    models = len(load_all(path))
    return f"{said}{f', on each of {models} models' if models > 1 else ''}."


def _times(trained: Sequence[Cost], rate: float, seeds: int) -> str:
    total = sum(cost.seconds or 0.0 for cost in trained)
    each: dict[str, float] = {}
    for cost in trained:
        each.setdefault(cost.stage.cell.data or "", (cost.seconds or 0.0) / cost.trainings)
    by_data = ", ".join(f"{duration(seconds)} on {data}" for data, seconds in each.items())
    known = "the published " if rate == _PUBLISHED else ""
    a_seed = f" ({duration(total / seeds)} a seed)" if seeds > 1 else ""
    return f": {duration(total)}{a_seed} at {known}{rate:g} s a step, a training {by_data}"


def _rows(text: str) -> dict[str, int]:
    found = {}
    for table in text.split("[[data]]")[1:]:
        name = re.search(r'^name = "([^"]+)"', table, re.MULTILINE)
        for line in table.split("\n[")[0].splitlines():
            if name and (rows := _ROWS.search(line)):
                found[name[1]] = int(rows[1].replace(",", ""))
    return found


def with_sentence(path: Path) -> str:
    """The text of a recipe with what the plan says now: in the place of what its head says, or above its hardware."""
    text = path.read_text(encoding="utf-8")
    wrapped = textwrap.fill(sentence(path), 118, initial_indent="# ", subsequent_indent="#   ") + "\n"
    if found := _LINE.search(head(text) + "\n"):
        return text[: found.start()] + wrapped + text[found.end() :]
    anchor = head(text).find("# Hardware")
    place = text.index("\n\nname = ") + 1 if anchor < 0 else anchor
    return text[:place] + wrapped + text[place:]


def main() -> None:
    for path in RECIPES:
        path.write_text(with_sentence(path), encoding="utf-8")


if __name__ == "__main__":
    main()
