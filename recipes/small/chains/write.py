"""Worked chains of arithmetic for `table-10.toml`: `python write.py` writes the three files beside it.

Two ways to reason about one kind of problem, as the solutions of LIMO and the traces of s1.1 are: `short` states its
steps, `long` thinks aloud, checks and then answers; `problems` are for the evaluation. No problem is in
two of the files. The problems are made up by this script and in the public domain (CC0).
"""

from __future__ import annotations

import json
import random
from pathlib import Path

NAMES = ("Ada", "Ben", "Chi", "Dana", "Eli", "Femi", "Gus", "Hana", "Ivo", "Jun", "Kofi", "Lena")
THINGS = ("pens", "apples", "stamps", "coins", "cards", "shells", "books", "tiles")
ASK = "Please reason step by step, and put your final answer within \\boxed{}."
SIZES = {"short": 120, "long": 120, "problems": 60}


def problem(rng: random.Random) -> tuple[str, str, list[tuple[str, str, int]]]:
    """A question, what it counts, and the steps to its answer: (what is done, as an equation, its value)."""
    name, thing = rng.choice(NAMES), rng.choice(THINGS)
    boxes, each = rng.randint(2, 9), rng.randint(3, 12)
    total = boxes * each
    sentences = [f"{name} has {boxes} boxes of {each} {thing}."]
    steps = [(f"the boxes hold {boxes} times {each} {thing}", f"{boxes} * {each}", total)]
    for kind in rng.sample(("gets", "gives", "doubles"), rng.randint(1, 3)):
        if kind == "gets":
            more = rng.randint(2, 30)
            sentences.append(f"{name} gets {more} more.")
            steps.append((f"{more} more are added", f"{total} + {more}", total + more))
            total += more
        elif kind == "gives":
            less = rng.randint(1, total - 1)
            sentences.append(f"{name} gives {less} away.")
            steps.append((f"{less} are taken away", f"{total} - {less}", total - less))
            total -= less
        else:
            sentences.append(f"Then {name} finds as many as that again.")
            steps.append(("the number doubles", f"{total} * 2", 2 * total))
            total *= 2
    return f"{' '.join(sentences)} How many {thing} does {name} have now?", thing, steps


def short(thing: str, steps: list[tuple[str, str, int]]) -> str:
    """A solution that states every step."""
    lines = [f"Step {number}: {said}: {sum_} = {value}." for number, (said, sum_, value) in enumerate(steps, 1)]
    return "\n".join([*lines, f"The answer is \\boxed{{{steps[-1][2]}}} {thing}."])


def long(thing: str, steps: list[tuple[str, str, int]]) -> str:
    """A trace that thinks aloud and checks every step."""
    lines = ["Let me think about what happens, one thing at a time."]
    for said, sum_, value in steps:
        lines.append(f"So {said}. That is {sum_}, which gives {value}. Let me check: {value} = {sum_}. Yes.")
    lines.append(f"Nothing else happens, so there are {steps[-1][2]} {thing}.")
    return "\n".join([*lines, f"Final answer: \\boxed{{{steps[-1][2]}}}"])


def files() -> dict[str, str]:
    """The text of every file, by name."""
    rng, seen, found = random.Random(0), set(), {}
    for name, count in SIZES.items():
        rows: list[dict[str, str]] = []
        while len(rows) < count:
            question, thing, steps = problem(rng)
            if question in seen:
                continue
            seen.add(question)
            if name == "problems":
                rows.append({"problem": question, "answer": str(steps[-1][2])})
            else:
                write = short if name == "short" else long
                rows.append({"prompt": f"{question}\n{ASK}", "response": write(thing, steps)})
        found[f"{name}.jsonl"] = "".join(json.dumps(row) + "\n" for row in rows)
    return found


if __name__ == "__main__":
    for name, text in files().items():
        (Path(__file__).parent / name).write_text(text, encoding="utf-8")
