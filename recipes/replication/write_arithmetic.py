"""Problems of three one-digit numbers for `pruning.toml`: `python write_arithmetic.py` writes the file beside it."""

import json
import random
from pathlib import Path

PROBLEMS = 120


def main() -> None:
    """Write `arithmetic.jsonl`, the same at every call."""
    draws = random.Random(0)
    found: dict[str, int] = {}
    while len(found) < PROBLEMS:
        a, b, c = (draws.randint(1, 9) for _ in range(3))
        inner, outer = (draws.choice("+-*") for _ in range(2))
        text = f"({a} {inner} {b}) {outer} {c}"
        found[text] = eval(text)
    lines = [
        json.dumps({"context": f"\n\nQ: What is {text}?\n\nA:", "completion": f" {answer}"})
        for text, answer in found.items()
    ]
    Path(__file__).with_name("arithmetic.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
