"""The sentence on cost in the head of a shipped recipe: `python -m tests.planning.heads` writes it into all of them."""

from __future__ import annotations

import re
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from layersig.engine.pace import duration
from layersig.pipeline import Stage, stages
from layersig.planning.assumptions import Assumptions
from layersig.planning.cards import CARDS, Cards, usable
from layersig.planning.costs import Cost, cost_of
from layersig.planning.facts import Facts
from layersig.planning.known import Known
from layersig.planning.memory import gib
from layersig.recipe.load import load_all
from tests.shapes import PUBLISHED, write_config

RECIPES = sorted((Path(__file__).parents[2] / "recipes").rglob("*.toml"))
_ROWS = re.compile(
    r'^source = "(?:hub|file):[^"]*".*?#.*?\b(\d[\d,]*) (?:conversations|instructions|problems|rows|prompts)'
)
_PUBLISHED = 6.7
"""Seconds of a step of Llama-2-7B in arXiv 2410.17875."""
_RATE = re.compile(r"(\d+(?:\.\d+)?) s a step")
_MEMORY = re.compile(r"^# Memory, .*\n(?:#   .*\n)*", re.MULTILINE)
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


def memory_sentence(path: Path, configs: Path, counts: dict[object, Any] | None = None) -> str | None:
    """What the plan says of the memory of a recipe's arms on a GPU; None where the shapes of its model are not known.

    Args:
        path: The recipe.
        configs: Folder for configurations.
        counts: What was counted for other recipes.
    """
    facts = facts_of(path)
    name = facts.recipe.model.source.removeprefix("hub:")
    if name not in PUBLISHED:
        return None
    config = write_config(PUBLISHED[name], configs / name)
    nf4 = facts.recipe.model.quantization == "nf4"
    by_arm: dict[str, float] = {}
    for stage, ids, half, quantized in Cards(replace(facts, config=config), {} if counts is None else counts).needs():
        need = quantized if nf4 else half
        assert need is not None
        for label in dict.fromkeys(_label(each) for each in facts.known.graph.stages if each.id in ids):
            by_arm[label] = max(by_arm.get(label, 0.0), need.total)
        assert stage.id in ids
    named = {arm.name for arm in facts.recipe.arms if "." not in arm.name} | {*_LABELS.values(), "all-layers"}
    said = ", ".join(f"{label} {gib(by_arm[label])}" for label in by_arm if label in named)  # controls take as much
    card = next((card for card in CARDS if max(by_arm.values()) <= usable(card)), None)
    fit = "nothing up to 141 GB" if card is None else f"a card of {card}"
    least = "at least, " if facts.recipe.train.micro_batch_tokens == "auto" else ""
    return f"Memory, {least}as `layersig plan --cards` estimates it: {said}; fits {fit}."


_LABELS = {"score": "scores", "evaluate": "evaluation", "answer": "answers", "generate": "responses"}


def _label(stage: Stage) -> str:
    return _LABELS.get(stage.kind, stage.cell.arm or "")


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


def stated_memory(text: str) -> str | None:
    """What a head says of memory, on one line; None where it says nothing."""
    found = _MEMORY.search(head(text) + "\n")
    return None if found is None else " ".join(line.lstrip("# ").strip() for line in found[0].splitlines())


def with_memory(text: str, said: str | None) -> str:
    """The text of a recipe with what the plan says of memory, below its other sentence."""
    if said is None:
        return text
    wrapped = textwrap.fill(said, 118, initial_indent="# ", subsequent_indent="#   ") + "\n"
    if found := _MEMORY.search(head(text) + "\n"):
        return text[: found.start()] + wrapped + text[found.end() :]
    found = _LINE.search(head(text) + "\n")
    assert found is not None
    return text[: found.end()] + wrapped + text[found.end() :]


def main() -> None:
    counts: dict[object, Any] = {}
    with tempfile.TemporaryDirectory() as configs:
        for path in RECIPES:
            path.write_text(with_sentence(path), encoding="utf-8")
            said = memory_sentence(path, Path(configs), counts)
            path.write_text(with_memory(path.read_text(encoding="utf-8"), said), encoding="utf-8")


if __name__ == "__main__":
    main()
