"""All sums, differences not below zero and products of two numbers from 1 to 9, for `pruning.toml` and `recovery.toml`.

`python write_arithmetic.py` writes the file beside it.
"""

import json
from itertools import product
from pathlib import Path


def main() -> None:
    """Write `arithmetic.jsonl`, the same at every call."""
    digits = list(product(range(1, 10), repeat=2))
    problems = [
        *((f"{a} + {b}", a + b) for a, b in digits),
        *((f"{a} - {b}", a - b) for a, b in digits if a >= b),
        *((f"{a} * {b}", a * b) for a, b in digits),
    ]
    lines = [
        json.dumps({"context": f"\n\nQ: What is {text}?\n\nA:", "completion": f" {answer}"})
        for text, answer in problems
    ]
    Path(__file__).with_name("arithmetic.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
